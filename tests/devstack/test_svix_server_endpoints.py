"""The Svix-compatible server's endpoints, through the official SDK (facts/svix.md §1, §2)."""

import pytest
from svix.api import (
    EndpointListOptions,
    Svix,
)
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import (
    EndpointHeadersIn,
    EndpointHeadersPatchIn,
    EndpointIn,
    EndpointPatch,
    EndpointSecretRotateIn,
    EndpointUpsertIn,
    EventTypeIn,
    Ordering,
)

from devstack.svix_server.testing.sdk import flaw, new_app, new_endpoint

URL = "http://127.0.0.1:9/hook"


class TestEndpoints:
    def test_an_endpoint_is_created_read_changed_and_deleted(self, svix: Svix):
        app = new_app(svix)
        made = svix.endpoint.create(app, EndpointIn(url="HTTP://Example.COM", uid="e", channels=["c", "c"]))
        assert (made.url, made.uid, made.channels, made.disabled) == ("http://example.com/", "e", ["c"], False)
        assert (made.event_types, made.description, made.metadata) == (None, "", {})
        assert svix.endpoint.get(app, "e") == made
        changed = svix.endpoint.patch(app, "e", EndpointPatch(disabled=True, uid=None, channels=None))
        assert (changed.disabled, changed.uid, changed.channels, changed.url) == (True, None, None, made.url)
        svix.endpoint.delete(app, made.id)
        assert svix.endpoint.list(app).data == []

    def test_upsert_clears_what_is_absent_and_enables(self, svix: Svix):
        app = new_app(svix)
        made = new_endpoint(svix, app, uid="e", description="d", metadata={"a": "b"})
        replaced = svix.endpoint.upsert(app, "e", EndpointUpsertIn(url=URL))
        assert (replaced.id, replaced.uid, replaced.description) == (made.id, None, "")
        assert (replaced.disabled, replaced.metadata) == (False, {})
        created = svix.endpoint.upsert(app, "unknown", EndpointUpsertIn(url=URL))
        assert (created.id != made.id, created.uid) == (True, None)

    def test_the_list_is_newest_first(self, svix: Svix):
        app = new_app(svix)
        made = [new_endpoint(svix, app).id for _ in range(3)]
        assert [one.id for one in svix.endpoint.list(app).data] == made[::-1]
        rising = svix.endpoint.list(app, EndpointListOptions(order=Ordering.ASCENDING, limit=2))
        assert [one.id for one in rising.data] == made[:2]

    def test_event_types_must_exist(self, svix: Svix):
        app = new_app(svix)
        svix.event_type.create(EventTypeIn(name="known", description=""))
        assert new_endpoint(svix, app, eventTypes=["known"]).event_types == ["known"]
        with pytest.raises(HTTPValidationError) as refused:
            new_endpoint(svix, app, eventTypes=["b", "known", "a"])
        assert flaw(refused.value)[:2] == (["body", "eventTypes"], "The following event types don't exist: a, b")

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"url": "ftp://h/"}, "url"),
            ({"url": "not a url"}, "url"),
            ({"eventTypes": []}, "eventTypes"),
            ({"channels": []}, "channels"),
            ({"channels": [str(n) for n in range(11)]}, "channels"),
            ({"uid": "ep_1"}, "uid"),
            ({"throttleRate": 0}, "throttleRate"),
            ({"description": "\x01"}, "description"),
            ({"metadata": {"k": "v" * 4096}}, "metadata"),
            ({"secret": "whsec_c2hvcnQ="}, "secret"),
            ({"headers": {"svix-x": "1"}}, "headers"),
        ],
    )
    def test_bad_fields_are_refused(self, svix: Svix, fields: dict[str, object], field: str):
        with pytest.raises(HTTPValidationError) as refused:
            new_endpoint(svix, new_app(svix), **fields)
        assert flaw(refused.value)[0] == ["body", field]

    def test_a_null_is_refused_where_it_would_clear_a_required_field(self, svix: Svix):
        app = new_app(svix)
        made = new_endpoint(svix, app)
        for fields in ({"url": None}, {"description": None}, {"disabled": None}):
            with pytest.raises(HTTPValidationError) as refused:
                svix.endpoint.patch(app, made.id, EndpointPatch.model_validate(fields))
            assert flaw(refused.value)[2] == "value_error.jsondecode"

    def test_a_uid_is_unique_in_its_application_and_freed_by_deletion(self, svix: Svix):
        app = new_app(svix)
        new_endpoint(svix, app, uid="e")
        with pytest.raises(HttpError) as refused:
            new_endpoint(svix, app, uid="e")
        assert refused.value.status_code == 409
        new_endpoint(svix, new_app(svix), uid="e")
        svix.endpoint.delete(app, "e")
        new_endpoint(svix, app, uid="e")

    def test_headers_are_set_patched_and_partly_hidden(self, svix: Svix):
        app = new_app(svix)
        made = new_endpoint(svix, app, headers={"X-First": "1"})
        assert svix.endpoint.get_headers(app, made.id).headers == {"X-First": "1"}
        svix.endpoint.set_headers(app, made.id, EndpointHeadersIn(headers={"X-One": "1", "Authorization": "s"}))
        shown = svix.endpoint.get_headers(app, made.id)
        assert (shown.headers, shown.sensitive) == ({"X-One": "1"}, ["Authorization"])
        patch = EndpointHeadersPatchIn(headers={"X-Two": "2"}, delete_headers=["X-One"])
        svix.endpoint.patch_headers(app, made.id, patch)
        assert svix.endpoint.get_headers(app, made.id).headers == {"X-Two": "2"}

    @pytest.mark.parametrize("name", ["User-Agent", "content-type", "X-Amz-Date", "svix-id", "X-Svix-A", "a b", ""])
    def test_reserved_headers_are_refused(self, svix: Svix, name: str):
        app = new_app(svix)
        made = new_endpoint(svix, app)
        with pytest.raises(HTTPValidationError):
            svix.endpoint.set_headers(app, made.id, EndpointHeadersIn(headers={name: "1"}))

    def test_a_secret_is_made_or_given_and_rotated(self, svix: Svix):
        app = new_app(svix)
        made, given = new_endpoint(svix, app), "whsec_" + "A" * 32
        first = svix.endpoint.get_secret(app, made.id).key
        assert first.startswith("whsec_")
        rotated = svix.endpoint.rotate_secret(app, made.id, EndpointSecretRotateIn(key=given))
        assert rotated.key == svix.endpoint.get_secret(app, made.id).key == given
        own = new_endpoint(svix, app, secret=given)
        assert svix.endpoint.get_secret(app, own.id).key == given

    def test_no_more_than_ten_old_keys_live(self, svix: Svix):
        app = new_app(svix)
        made = new_endpoint(svix, app)
        for _ in range(10):
            svix.endpoint.rotate_secret(app, made.id, EndpointSecretRotateIn())
        with pytest.raises(HttpError) as refused:
            svix.endpoint.rotate_secret(app, made.id, EndpointSecretRotateIn())
        assert (refused.value.status_code, refused.value.code) == (400, "limit_reached")
        svix.endpoint.rotate_secret(app, made.id, EndpointSecretRotateIn(grace_period_seconds=0))
        with pytest.raises(HTTPValidationError):
            svix.endpoint.rotate_secret(app, made.id, EndpointSecretRotateIn(grace_period_seconds=604_801))
