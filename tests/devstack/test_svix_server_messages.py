"""The Svix-compatible server's messages, idempotency and access, through the official SDK (facts/svix.md §1)."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from svix.api import (
    ApplicationCreateOptions,
    MessageCreateOptions,
    MessageGetOptions,
    MessageListOptions,
    Svix,
    SvixAsync,
    SvixOptions,
)
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import (
    ApplicationIn,
    AppPortalAccessIn,
    EndpointIn,
    EventTypeIn,
    MessageIn,
)

from devstack.svix_server.auth import DEFAULT_ORG, org_token
from devstack.svix_server.testing.process import SECRET, RunningServer, an_organization
from devstack.svix_server.testing.sdk import flaw, new_app, new_endpoint

URL = "http://127.0.0.1:9/hook"


class TestMessages:
    def test_a_message_is_sent_read_and_expunged(self, svix: Svix):
        app = new_app(svix)
        new = MessageIn(event_type="any.type", payload={"a": [1]}, event_id="ev-1", channels=["c"])
        sent = svix.message.create(app, new)
        assert (sent.event_id, sent.event_type, sent.channels, sent.payload) == ("ev-1", "any.type", ["c"], {})
        read = svix.message.get(app, "ev-1", MessageGetOptions(with_content=True))
        assert (read.id, read.payload) == (sent.id, {"a": [1]})
        svix.message.expunge_content(app, sent.id)
        assert svix.message.get(app, sent.id, MessageGetOptions(with_content=True)).payload == {"expired": True}

    def test_an_event_id_is_unique_in_its_application(self, svix: Svix):
        app, other = new_app(svix), new_app(svix)
        new = MessageIn(event_type="t", payload={}, event_id="once")
        svix.message.create(app, new)
        svix.message.create(other, new)
        with pytest.raises(HttpError) as refused:
            svix.message.create(app, new)
        assert (refused.value.status_code, refused.value.code) == (409, "conflict")
        assert len(svix.message.list(app).data) == 1

    def test_a_message_may_bring_its_application_along(self, svix: Svix):
        new = MessageIn(event_type="t", payload={}, application=ApplicationIn(name="new", uid="fresh"))
        svix.message.create("fresh", new)
        assert svix.application.get("fresh").name == "new"
        for path, uid, kind in (("x", "y", "application_uid_mismatch"), ("x", None, "application_uid_missing")):
            new.application = ApplicationIn(name="n", uid=uid)
            with pytest.raises(HTTPValidationError) as refused:
                svix.message.create(path, new)
            assert flaw(refused.value)[2] == kind

    def test_an_unknown_application_is_named_so(self, svix: Svix):
        with pytest.raises(HttpError) as refused:
            svix.message.create("nobody", MessageIn(event_type="t", payload={}))
        assert (refused.value.status_code, refused.value.detail) == (404, "Application not found")

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"event_type": "a b"}, "eventType"),
            ({"channels": []}, "channels"),
            ({"channels": list("abcdef")}, "channels"),
            ({"event_id": "msg_1"}, "eventId"),
            ({"payload_retention_period": 4}, "payloadRetentionPeriod"),
            ({"payload_retention_period": 91}, "payloadRetentionPeriod"),
        ],
    )
    def test_bad_fields_are_refused(self, svix: Svix, fields: dict[str, object], field: str):
        new = MessageIn.model_validate({"event_type": "t", "payload": {}} | fields)
        with pytest.raises(HTTPValidationError) as refused:
            svix.message.create(new_app(svix), new)
        assert flaw(refused.value)[0] == ["body", field]

    @pytest.mark.parametrize("body", ["", "{", "[]", '{"eventType":"t"}', '{"eventType":"t","payload":[]}', b"\xff"])
    def test_a_body_that_is_none_is_refused(self, server: RunningServer, body: str | bytes):
        answer = server.http("POST", "/api/v1/app/x/msg", content=body)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"][0] == "body"

    def test_messages_are_listed_newest_first_and_filtered(self, svix: Svix):
        app = new_app(svix)
        sent = [
            svix.message.create(app, MessageIn(event_type=kind, payload={}, channels=channels))
            for kind, channels in (("a", None), ("b", ["x"]), ("a", ["x", "y"]), ("c", None))
        ]
        made = [one.id for one in sent]

        def found(**options: object) -> list[str]:
            return [one.id for one in svix.message.list(app, MessageListOptions(**options)).data]  # pyright: ignore[reportArgumentType] (mixed kinds)

        assert found() == made[::-1]
        assert found(event_types=["a", "b"]) == [made[2], made[1], made[0]]
        assert found(channel="x") == [made[2], made[1]]
        assert found(before=sent[2].timestamp) == [made[1], made[0]]
        assert found(after=sent[1].timestamp) == [made[3], made[2]]
        assert found(after=sent[0].timestamp, limit=1) == [made[1]], "the page closest to `after`"
        assert found(after=sent[0].timestamp, before=sent[3].timestamp) == [made[2], made[1]]
        assert found(limit=1, iterator="-" + made[1]) == [made[2]]
        assert found(iterator=made[2]) == [made[1], made[0]]

    def test_times_without_an_offset_are_refused(self, svix: Svix):
        with pytest.raises(HttpError) as refused:
            svix.message.list(new_app(svix), MessageListOptions(before=datetime(2026, 1, 1)))  # noqa: DTZ001 (the point)
        assert (refused.value.status_code, refused.value.code) == (400, "generic_error")


class TestIdempotency:
    def test_the_same_key_gets_the_first_reply_whatever_the_body(self, svix: Svix):
        app = new_app(svix)
        options = MessageCreateOptions(idempotency_key="k1")
        first = svix.message.create(app, MessageIn(event_type="t", payload={"n": 1}), options)
        assert svix.message.create(app, MessageIn(event_type="t", payload={"n": 2}), options) == first
        assert len(svix.message.list(app).data) == 1

    def test_the_query_is_part_of_the_key_and_failures_are_not_kept(self, svix: Svix):
        options = MessageCreateOptions(idempotency_key="k2")
        new = MessageIn(event_type="t", payload={"n": 1})
        with pytest.raises(HttpError):
            svix.message.create("later", new, options)
        svix.application.create(ApplicationIn(name="a", uid="later"))
        first = svix.message.create("later", new, options)
        options.with_content = True
        assert svix.message.create("later", new, options).id != first.id

    async def test_twins_get_one_application(self, server: RunningServer):
        org = an_organization()
        headers = {"authorization": f"Bearer {org_token(SECRET, org)}", "idempotency-key": "twin"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            calls = (client.post("/api/v1/app", json={"name": str(n)}) for n in range(8))
            answers = await asyncio.gather(*calls)
        assert len({answer.json()["id"] for answer in answers}) == 1

    def test_an_application_key_is_the_callers_own(self, server: RunningServer):
        made = []
        for _ in range(2):
            with server.client(an_organization()) as client:
                options = ApplicationCreateOptions(idempotency_key="same")
                made.append(client.application.create(ApplicationIn(name="a"), options).id)
        assert made[0] != made[1]


class TestAccess:
    def test_a_portal_token_reads_its_application_and_manages_its_endpoints(self, server: RunningServer, svix: Svix):
        app, other = new_app(svix), new_app(svix)
        access = svix.authentication.app_portal_access(app, AppPortalAccessIn(feature_flags=["x"]))
        assert access.url.startswith("https://")
        portal = Svix(access.token, SvixOptions(server_url=server.url, retry_schedule=[]))
        with portal._httpx_client:
            assert portal.application.get(app).id == app
            new_endpoint(portal, app)
            portal.event_type.list()
            portal.message.list(app)
            for forbidden in (
                lambda: portal.application.list(),
                lambda: portal.application.delete(app),
                lambda: portal.message.create(app, MessageIn(event_type="t", payload={})),
                lambda: portal.event_type.create(EventTypeIn(name="x", description="")),
            ):
                with pytest.raises(HttpError) as refused:
                    forbidden()
                assert (refused.value.status_code, refused.value.code) == (403, "insufficient access")
            with pytest.raises(HttpError) as refused:
                portal.application.get(other)
            assert refused.value.status_code == 404

    def test_no_token_no_answer(self, server: RunningServer):
        answer = httpx.get(f"{server.url}/api/v1/app")
        assert (answer.status_code, answer.json()) == (
            401,
            {"code": "authentication_failed", "detail": "Invalid token"},
        )

    def test_logout_is_not_there(self, svix: Svix):
        with pytest.raises(HttpError) as refused:
            svix.authentication.logout()
        assert (refused.value.status_code, refused.value.code) == (501, "not_implemented")

    def test_health_needs_no_token(self, server: RunningServer, svix: Svix):
        svix.health.get()
        assert httpx.get(f"{server.url}/api/v1/health/ping").status_code == 204

    def test_an_unknown_route_is_an_empty_404_and_every_answer_says_what_it_comes_from(self, server: RunningServer):
        for method, path in (("GET", "/api/v1/nope"), ("POST", "/api/v1/app/a/endpoint/e/bulk-replay")):
            answer = server.http(method, path)
            assert (answer.status_code, answer.content) == (404, b"")
            assert answer.headers["x-svix-standin"] == "1"

    def test_a_trailing_slash_is_no_matter(self, server: RunningServer):
        assert server.http("GET", "/api/v1/app/").status_code == 200

    def test_too_large_a_body_is_refused(self, server: RunningServer):
        answer = server.http("POST", "/api/v1/app", content=b"x" * (10 * 1024 * 1024 + 1))
        assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")


async def test_the_async_sdk_does_the_same(server: RunningServer):
    token = org_token(SECRET, an_organization())
    svix = SvixAsync(token, SvixOptions(server_url=server.url, retry_schedule=[]))
    async with svix._httpx_client:
        app = await svix.application.get_or_create(ApplicationIn(name="a", uid="async"))
        await svix.event_type.create(EventTypeIn(name="t", description=""))
        made = await svix.endpoint.create("async", EndpointIn(url=URL, disabled=True, event_types=["t"]))
        assert (await svix.endpoint.get_secret(app.id, made.id)).key.startswith("whsec_")
        sent = await svix.message.create(app.id, MessageIn(event_type="t", payload={"x": 1}))
        assert [one.id for one in (await svix.message.list(app.id)).data] == [sent.id]
        with pytest.raises(HttpError):
            await svix.message.get(app.id, "msg_unknown")
        assert sent.timestamp > datetime.now(UTC) - timedelta(minutes=1)


def test_the_default_organisation_is_svix_own(server: RunningServer):
    with server.client() as client:
        assert client.application.list().data == []
    assert DEFAULT_ORG == "org_23rb8YdGqMT0qIzpgGwdXfHirMu"
