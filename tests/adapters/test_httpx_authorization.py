"""A token endpoint over real sockets: what a code or a refresh token can lose on its way."""

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Event
from uuid import uuid4

from shared_code.adapters.httpx_authorization import HttpxAuthorization
from shared_code.model import OAuthGrant, OAuthProvider
from shared_code.ports import OAuthClient
from tests.fault_proxy import Heard, Liar

TOKENS = b'{"access_token": "one", "token_type": "Bearer"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(TOKENS)


async def test_a_code_is_not_lost_on_a_connection_that_the_server_is_just_closing():
    """One that keeps its connections, and reads nothing more from them: each call must come on one of its own."""
    over = Event()

    def answered_and_deaf(_: Heard) -> Iterator[bytes]:
        yield HEAD + TOKENS
        over.wait(30)

    authorization = HttpxAuthorization(allow_loopback=True)
    with Liar() as liar:
        liar.tells(answered_and_deaf)
        client = OAuthClient(provider=provider(liar.url), secret="secret")
        try:
            for code in ("first", "second"):
                issued = await authorization.redeem(client, code, "v" * 43, "https://gateway.test/oauth/callback")
                assert issued.access_token == "one"
        finally:
            over.set()
            await authorization.close()


def provider(url: str) -> OAuthProvider:
    now = datetime.now(UTC)
    return OAuthProvider(
        partner_id=uuid4(),
        grant=OAuthGrant.AUTHORIZATION_CODE,
        authorize_url=f"{url}/authorize",
        token_url=f"{url}/token",
        client_id="client",
        client_secret_encrypted="",
        created_at=now,
        updated_at=now,
    )
