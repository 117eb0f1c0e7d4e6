"""The example partner's OAuth server: what real ones insist on, and the faults it can be told to have."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from devstack.partner.app import build
from devstack.partner.database import open_database
from devstack.partner.grants import challenge_of
from tests.devstack.test_partner import KEY, MEMORY

CLIENT, SECRET, BACK = "pinksync", "a secret", "http://gateway.test/oauth/callback"
VERIFIER = "v" * 43


@pytest.fixture
async def partner() -> AsyncIterator[httpx.AsyncClient]:
    database: sqlite3.Connection = open_database(MEMORY)
    transport = httpx.ASGITransport(build(database, KEY))
    async with httpx.AsyncClient(transport=transport, base_url="http://partner.test") as client:
        yield client
    database.close()


async def authorize(partner: httpx.AsyncClient, **changes: str) -> dict[str, str]:
    """What the browser is sent back with."""
    asked = {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": BACK,
        "state": "s-1",
        "scope": "orders",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    answer = await partner.get("/oauth/authorize", params=asked | changes)
    assert answer.status_code == 302, answer.text
    location = urlsplit(answer.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == BACK
    return {name: values[0] for name, values in parse_qs(location.query).items()}


async def redeem(partner: httpx.AsyncClient, code: str, **changes: str) -> httpx.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    return await ask(partner, **form | changes)


async def ask(partner: httpx.AsyncClient, **form: str) -> httpx.Response:
    return await partner.post("/oauth/token", data=form, auth=(CLIENT, SECRET))


async def tokens(partner: httpx.AsyncClient) -> Any:
    answer = await redeem(partner, (await authorize(partner))["code"])
    assert answer.status_code == 200, answer.text
    return answer.json()


async def behaves(partner: httpx.AsyncClient, **told: Any) -> None:
    assert (await partner.put(f"/_devstack/oauth/{CLIENT}", json=told)).status_code == 200


async def opened(partner: httpx.AsyncClient, token: str) -> bool:
    answer = await partner.get("/api/orders/1", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


async def test_a_code_becomes_tokens_that_open_the_api(partner: httpx.AsyncClient) -> None:
    back = await authorize(partner)
    assert (back["state"], back["iss"]) == ("s-1", "http://partner.test")
    got = (await redeem(partner, back["code"])).json()
    assert (got["token_type"], got["expires_in"], got["scope"]) == ("Bearer", 3600, "orders")
    assert await opened(partner, got["access_token"])
    assert not await opened(partner, got["refresh_token"])


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": ""},
        {"code_challenge_method": "plain"},
        {"code_challenge": "short"},
        {"state": ""},
        {"response_type": "token"},
    ],
)
async def test_pkce_and_a_state_are_a_must(partner: httpx.AsyncClient, changes: dict[str, str]) -> None:
    back = await authorize(partner, **changes)
    assert (back["error"], "code" in back) == ("invalid_request", False)


async def test_nobody_is_sent_to_what_is_no_address(partner: httpx.AsyncClient) -> None:
    for wrong in ({"redirect_uri": "javascript:alert(1)"}, {"redirect_uri": "/x"}, {"client_id": ""}):
        answer = await partner.get("/oauth/authorize", params={"client_id": "c", "redirect_uri": BACK} | wrong)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"redirect_uri": BACK + "/"}, "invalid_grant"),
        ({"code": "code_guessed"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_code_is_for_who_asked_for_it(partner: httpx.AsyncClient, changes: dict[str, str], error: str) -> None:
    answer = await redeem(partner, **{"code": (await authorize(partner))["code"]} | changes)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_a_code_that_is_shown_twice_takes_its_tokens_along(partner: httpx.AsyncClient) -> None:
    code = (await authorize(partner))["code"]
    got = (await redeem(partner, code)).json()
    assert (await redeem(partner, code)).json()["error"] == "invalid_grant"
    assert not await opened(partner, got["access_token"])


async def test_a_client_without_a_secret_is_refused(partner: httpx.AsyncClient) -> None:
    form = {"grant_type": "client_credentials", "client_id": CLIENT}
    answer = await partner.post("/oauth/token", data=form)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    answer = await partner.post("/oauth/token", data=form | {"client_secret": SECRET})
    assert "refresh_token" not in answer.json()
    assert await opened(partner, answer.json()["access_token"])


@pytest.mark.parametrize("rotate", [False, True])
async def test_a_refresh_token_works_on_or_once_as_told(partner: httpx.AsyncClient, rotate: bool) -> None:
    await behaves(partner, rotate=rotate)
    old = (await tokens(partner))["refresh_token"]
    new = (await ask(partner, grant_type="refresh_token", refresh_token=old)).json()
    assert await opened(partner, new["access_token"])
    assert ("refresh_token" in new) is rotate
    again = await ask(partner, grant_type="refresh_token", refresh_token=old)
    assert again.status_code == (400 if rotate else 200)
    counts = (await partner.get(f"/_devstack/oauth/{CLIENT}")).json()
    assert (counts["codes"], counts["refreshes"], counts["authorizations"]) == (1, 2, 1)


async def test_tokens_end_are_revoked_and_are_rejected(partner: httpx.AsyncClient) -> None:
    await behaves(partner, expires_in=0)
    assert not await opened(partner, (await tokens(partner))["access_token"])
    await behaves(partner, expires_in=None)
    got = await tokens(partner)
    assert "expires_in" not in got
    await partner.delete(f"/_devstack/oauth/{CLIENT}/access-tokens")
    assert not await opened(partner, got["access_token"])
    got = await tokens(partner)
    answer = await partner.post("/oauth/revoke", data={"token": got["refresh_token"]}, auth=(CLIENT, SECRET))
    assert answer.status_code == 200
    assert not await opened(partner, got["access_token"])
    assert (await partner.post("/oauth/revoke", data={"token": "x"})).status_code == 401


async def test_it_can_be_told_to_fail_so_many_times(partner: httpx.AsyncClient) -> None:
    await behaves(partner, status=500, times=2)
    answers = [await ask(partner, grant_type="client_credentials") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [500, 500, 200]
    await behaves(partner, error="invalid_grant")
    assert (await ask(partner, grant_type="client_credentials")).json()["error"] == "invalid_grant"
    await behaves(partner, nonsense=True)
    assert len((await ask(partner, grant_type="client_credentials")).content) == 1024 * 1024
    await behaves(partner, deny=True, iss="https://evil.example")
    back = await authorize(partner)
    assert (back["error"], back["iss"]) == ("access_denied", "https://evil.example")
    assert (await partner.put(f"/_devstack/oauth/{CLIENT}", json={"delay": 1})).status_code == 422


async def test_told_to_ask_it_shows_a_page_and_does_what_the_person_says(partner: httpx.AsyncClient) -> None:
    await behaves(partner, ask=True)
    asked = {"response_type": "code", "client_id": CLIENT, "redirect_uri": BACK, "state": '"><script>'}
    asked |= {"code_challenge": challenge_of(VERIFIER), "code_challenge_method": "S256"}
    page = await partner.get("/oauth/authorize", params=asked)
    assert page.status_code == 200
    assert "<script>" not in page.text
    assert "code" in await authorize(partner, decision="approve")
    assert (await authorize(partner, decision="deny"))["error"] == "access_denied"
