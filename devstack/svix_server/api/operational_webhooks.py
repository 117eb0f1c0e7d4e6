"""The cloud's /operational-webhook/endpoint, which svix-server lacks (facts/svix.md §3)."""

from devstack.svix_server import endpoint, event_type, ids
from devstack.svix_server.api import endpoint_settings
from devstack.svix_server.api.door import Call, Route
from devstack.svix_server.api.endpoints import EndpointIn, EndpointUpsertIn, insert, save_or_insert
from devstack.svix_server.api.header_rules import shown
from devstack.svix_server.api.queries import page
from devstack.svix_server.application import Application
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.operational import KNOWN_TYPES, listener_for
from devstack.svix_server.reply import NO_CONTENT, Reply


def create(call: Call) -> Reply:
    app, given = _listener(call), call.read(EndpointIn)
    _refuse_unknown(given)
    return Reply.json(insert(call, app, given).out(), 201)


def listed(call: Call) -> Reply:
    asked = page(call.query, ids.ENDPOINT)
    return Reply.json(endpoint.page(call.server.store.db, _listener(call).id, asked))


def get(call: Call) -> Reply:
    return Reply.json(_endpoint(call).out())


def upsert(call: Call) -> Reply:
    app, given = _listener(call), call.read(EndpointUpsertIn)
    _refuse_unknown(given)
    return save_or_insert(call, app, given)


def delete(call: Call) -> Reply:
    endpoint.delete(call.server.store.db, _endpoint(call))
    return NO_CONTENT


def get_secret(call: Call) -> Reply:
    return endpoint_settings.secret_out(_endpoint(call))


def rotate_secret(call: Call) -> Reply:
    """No body here: the SDK expects none."""
    endpoint_settings.rotate(call, _endpoint(call))
    return NO_CONTENT


def get_headers(call: Call) -> Reply:
    return Reply.json(shown(_endpoint(call).headers))


def set_headers(call: Call) -> Reply:
    given = call.read(endpoint_settings.HeadersIn)
    return endpoint_settings.replace_headers(call, _endpoint(call), given.headers)


def _listener(call: Call) -> Application:
    return listener_for(call.server.store, call.organization())


def _endpoint(call: Call) -> Endpoint:
    return call.endpoint(_listener(call))


def _refuse_unknown(given: EndpointUpsertIn) -> None:
    event_type.refuse_missing(set(given.event_types or ()) - KNOWN_TYPES)


_ALL = "/api/v1/operational-webhook/endpoint"
_ONE = f"{_ALL}/{{endpoint_id}}"

ROUTES = (
    Route("POST", _ALL, create),
    Route("GET", _ALL, listed),
    Route("GET", _ONE, get),
    Route("PUT", _ONE, upsert),
    Route("DELETE", _ONE, delete),
    Route("GET", f"{_ONE}/secret", get_secret),
    Route("POST", f"{_ONE}/secret/rotate", rotate_secret),
    Route("GET", f"{_ONE}/headers", get_headers),
    Route("PUT", f"{_ONE}/headers", set_headers),
)
