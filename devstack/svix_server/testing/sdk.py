"""Short forms of the SDK calls that tests make all the time."""

from typing import Any

from svix.api import MessageAttemptListByMsgOptions, Svix
from svix.exceptions import HTTPValidationError
from svix.models import ApplicationIn, EndpointIn, EndpointOut, MessageAttemptOut, MessageIn, MessageOut, MessageStatus

from devstack.svix_server.testing.receiver import Inbox
from devstack.svix_server.testing.waiting import eventually


def new_app(svix: Svix, uid: str | None = None) -> str:
    return svix.application.create(ApplicationIn(name="app", uid=uid)).id


def new_endpoint(svix: Svix, app: str, **fields: object) -> EndpointOut:
    """Disabled, as nobody listens there."""
    given = {"url": "http://127.0.0.1:9/hook", "disabled": True} | fields
    return svix.endpoint.create(app, EndpointIn.model_validate(given))


def listen(svix: Svix, app: str, inbox: Inbox | str, **fields: object) -> str:
    """A new endpoint's id."""
    url = inbox if isinstance(inbox, str) else inbox.url
    return svix.endpoint.create(app, EndpointIn.model_validate({"url": url, **fields})).id


def send(svix: Svix, app: str, **fields: object) -> MessageOut:
    new = {"event_type": "order.created", "payload": {"n": 1}} | fields
    return svix.message.create(app, MessageIn.model_validate(new))


def attempts(svix: Svix, app: str, msg_id: str, **options: Any) -> list[MessageAttemptOut]:
    """Newest first."""
    asked = MessageAttemptListByMsgOptions(with_content=True, **options)
    return svix.message_attempt.list_by_msg(app, msg_id, asked).data


def status(svix: Svix, app: str, endpoint: str, msg_id: str) -> MessageStatus:
    data = svix.message_attempt.list_attempted_messages(app, endpoint).data
    return next(one.status for one in data if one.id == msg_id)


def ends_as(svix: Svix, app: str, endpoint: str, msg_id: str, wanted: MessageStatus) -> None:
    eventually(lambda: status(svix, app, endpoint, msg_id) == wanted)


def flaw(refused: HTTPValidationError) -> tuple[list[str], str, str]:
    """The first thing that a 422 names: where, what, of which type."""
    first = refused.detail[0]
    return list(first.loc), first.msg, first.type
