"""The one connection to Redis: everyone gets their own answer, and every accident is over soon and told to all."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import redis.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import RedisError, ResponseError

from shared_code.adapters import redis_wire
from shared_code.adapters.redis_client import PATIENCE, connect
from shared_code.adapters.redis_wire import RedisWire, Script
from tests.services import Service, start_valkey

ECHO = Script("return {KEYS[1], ARGV[1]}")


@asynccontextmanager
async def wired(client: redis.asyncio.Redis) -> AsyncIterator[RedisWire]:
    wire = RedisWire(client)
    yield wire
    await wire.close()


@pytest.fixture
async def wire(redis_url: str) -> AsyncIterator[RedisWire]:
    async with wired(connect(redis_url)) as wire:
        yield wire


async def until_answered(wire: RedisWire) -> float:
    """How many seconds until Redis answers again."""
    began = time.monotonic()
    while time.monotonic() - began < 20:
        try:
            await wire.ask("PING")
        except (RedisError, OSError, TimeoutError):
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - began
    pytest.fail("Redis never answered again")


# ── Everyone gets their own answer ───────────────────────────────────────────────────────────────


async def test_a_thousand_at_once_share_one_connection_and_get_their_own_answers(wire: RedisWire):
    answers = await asyncio.gather(*(wire.run(ECHO, (f"key {n}",), (n,)) for n in range(1000)))
    assert answers == [[f"key {n}".encode(), str(n).encode()] for n in range(1000)]
    assert await wire.ask("CLIENT", "ID") == await wire.ask("CLIENT", "ID")


async def test_who_gives_up_takes_nobody_elses_answer(wire: RedisWire):
    await wire.ask("PING")
    asked = [asyncio.ensure_future(wire.run(ECHO, (str(n),), (n,))) for n in range(100)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [answer[0] for answer in answers[1::2] if isinstance(answer, list)] == [
        str(n).encode() for n in range(1, 100, 2)
    ]
    assert await wire.ask("ECHO", "next") == b"next"


async def test_who_gives_up_while_it_opens_leaves_the_others_waiting(wire: RedisWire):
    first, second = asyncio.ensure_future(wire.ask("ECHO", "1")), asyncio.ensure_future(wire.ask("ECHO", "2"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == b"2"


async def test_forgotten_scripts_are_sent_again(wire: RedisWire):
    await wire.run(ECHO, ("k",), ("v",))
    await wire.ask("SCRIPT", "FLUSH")
    answers = await asyncio.gather(*(wire.run(ECHO, ("k",), (n,)) for n in range(20)))
    assert [answer[1] for answer in answers] == [str(n).encode() for n in range(20)]


async def test_an_error_of_one_question_is_nobody_elses(wire: RedisWire):
    await wire.ask("SET", "text", "x", "EX", 10)
    wrong, right = await asyncio.gather(wire.ask("INCR", "text"), wire.ask("GET", "text"), return_exceptions=True)
    assert isinstance(wrong, ResponseError)
    assert right == b"x"


async def test_it_uses_the_database_of_the_url(redis_url: str, wire: RedisWire):
    await wire.ask("SET", "here", "1", "EX", 10)
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        assert await client.get("here") == b"1"


async def test_a_large_answer_and_those_around_it_arrive_whole(wire: RedisWire):
    large = b"x" * 3_000_000
    await wire.ask("SET", "large", large, "EX", 10)
    assert await asyncio.gather(wire.ask("ECHO", "a"), wire.ask("GET", "large"), wire.ask("ECHO", "b")) == [
        b"a",
        large,
        b"b",
    ]


# ── Redis is cut, killed, paused ─────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with start_valkey(tmp_path_factory.mktemp("valkey")) as service:
        yield service


async def test_a_connection_that_was_cut_is_opened_again_and_nobody_is_told(wire: RedisWire, redis_url: str):
    number = await wire.ask("CLIENT", "ID")
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        await client.client_kill_filter(_id=str(number))
    assert await asyncio.gather(*(wire.ask("ECHO", n) for n in range(50))) == [str(n).encode() for n in range(50)]
    assert await wire.ask("CLIENT", "ID") != number


async def test_a_redis_that_was_killed_fails_at_once_and_is_found_when_it_is_back(valkey: Service):
    async with wired(connect(valkey.url)) as wire:
        await until_answered(wire)
        valkey.kill()
        began = time.monotonic()
        failures = await asyncio.gather(*(wire.ask("PING") for _ in range(50)), return_exceptions=True)
        took = time.monotonic() - began
        valkey.start()
        assert all(isinstance(failure, (RedisError, OSError)) for failure in failures)
        assert took < 4
        assert await until_answered(wire) < 5


async def test_a_redis_that_hangs_fails_all_who_wait_in_two_tenths_of_a_second(valkey: Service):
    """One for the question, and one for the new connection that it is asked over again."""
    async with wired(connect(valkey.url)) as wire:
        await until_answered(wire)
        process = psutil.Process(valkey.process.pid)
        process.suspend()
        began = time.monotonic()
        try:
            failures = await asyncio.gather(*(wire.ask("PING") for _ in range(50)), return_exceptions=True)
            took = time.monotonic() - began
        finally:
            process.resume()
        assert all(isinstance(failure, (RedisError, OSError, TimeoutError)) for failure in failures)
        assert PATIENCE < took < 4
        assert await until_answered(wire) < 5


async def test_a_process_that_was_busy_does_not_take_redis_for_dead(wire: RedisWire):
    await until_answered(wire)
    for _ in range(3):
        waiting = asyncio.ensure_future(wire.ask("ECHO", "still there"))
        await asyncio.sleep(0)
        time.sleep(PATIENCE * 2)
        assert await waiting == b"still there"


async def test_a_redis_that_is_slow_but_answers_is_not_taken_for_dead():
    """Its last answer comes long after the patience with a silence is over."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            for _ in range(data.count(b"PING") or 1):
                writer.write(b"+OK\r\n")
                await asyncio.sleep(PATIENCE / 5)

    async with served(slowly) as port, wired(connect(f"redis://127.0.0.1:{port}/0")) as wire:
        began = time.monotonic()
        answers = await asyncio.gather(*(wire.ask("PING") for _ in range(12)))
        assert answers == [b"OK"] * 12
        assert time.monotonic() - began > PATIENCE * 2


async def test_closing_tells_all_who_still_wait(valkey: Service):
    wire = RedisWire(connect(valkey.url))
    await until_answered(wire)
    waiting = asyncio.ensure_future(wire.ask("BLPOP", "nothing", 1))
    await asyncio.sleep(0.01)
    await wire.close()
    with pytest.raises((RedisError, TimeoutError)):
        await waiting
    await wire.close()


# ── A server that is no Redis ────────────────────────────────────────────────────────────────────

type Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on its own port, until the block ends."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    yield server.sockets[0].getsockname()[1]
    server.close()


def saying(*answers: bytes) -> Talk:
    """The first line is for SELECT; one connection after another takes up where the last ended."""
    left = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(left.pop(0) if left else b"+OK\r\n")

    return talk


@pytest.mark.parametrize("noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n+OK\r\n", b"$-7\r\nx"])
async def test_what_is_no_answer_ends_the_connection_and_the_next_is_a_new_one(noise: bytes):
    async with (
        served(saying(b"+OK\r\n", b"+PONG\r\n", noise, b"+OK\r\n", b"+better\r\n")) as port,
        wired(connect(f"redis://127.0.0.1:{port}/0")) as wire,
    ):
        assert await wire.ask("PING") == b"PONG"
        assert await wire.ask("GET", "1") in (b"better", b"OK")
        await asyncio.sleep(0)
        assert await wire.ask("PING") in (b"better", b"OK")


@pytest.mark.parametrize("error", [b"-READONLY it is a replica now\r\n", b"-NOAUTH the login is over\r\n"])
async def test_an_error_that_is_the_connections_own_is_met_with_a_new_one(error: bytes):
    async with (
        served(saying(b"+OK\r\n", b"+PONG\r\n", error, b"+OK\r\n", b"+written\r\n")) as port,
        wired(connect(f"redis://127.0.0.1:{port}/0")) as wire,
    ):
        assert await wire.ask("PING") == b"PONG"
        assert await wire.ask("SET", "a", "b") == b"written"


# ── Logging in ───────────────────────────────────────────────────────────────────────────────────


class Tokens(CredentialProvider):
    """Says the next word each time; the last one over and over."""

    def __init__(self, *words: str) -> None:
        self.words, self.given = list(words), 0

    async def get_credentials_async(self) -> tuple[str, str]:
        self.given += 1
        return ("app", self.words.pop(0) if len(self.words) > 1 else self.words[0])


async def allow(valkey: Service, *passwords: str) -> None:
    async with redis.asyncio.Redis.from_url(valkey.url) as client:
        rules: Sequence[str] = ("on", "resetpass", "~*", "+@all", *(f">{word}" for word in passwords))
        await client.execute_command("ACL", "SETUSER", "app", *rules)  # pyright: ignore[reportUnknownMemberType]


def with_tokens(valkey: Service, tokens: CredentialProvider) -> redis.asyncio.Redis:
    address = urlsplit(valkey.url)
    return redis.asyncio.Redis(
        host=address.hostname or "", port=address.port or 0, credential_provider=tokens, socket_timeout=PATIENCE
    )


async def test_a_wrong_password_is_an_error_and_nothing_is_asked(redis_url: str):
    address = urlsplit(redis_url)
    async with wired(connect(f"redis://:wrong@{address.hostname}:{address.port}/0")) as wire:
        with pytest.raises(ResponseError):
            await wire.ask("PING")


async def test_it_logs_in_as_the_user_of_the_credential_provider(valkey: Service):
    await allow(valkey, "token")
    async with wired(with_tokens(valkey, Tokens("token"))) as wire:
        assert await wire.ask("ACL", "WHOAMI") == b"app"


async def test_a_login_is_renewed_over_the_same_connection(valkey: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_wire, "RENEW_SECONDS", 0.05)
    await allow(valkey, "first", "second")
    tokens = Tokens("first", "second")
    async with wired(with_tokens(valkey, tokens)) as wire:
        number = await wire.ask("CLIENT", "ID")
        await eventually(lambda: tokens.given > 2)
        assert await wire.ask("CLIENT", "ID") == number


async def test_a_login_that_cannot_be_renewed_ends_the_connection(valkey: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_wire, "RENEW_SECONDS", 0.05)
    await allow(valkey, "right")
    tokens = Tokens("right", "wrong", "right")
    async with wired(with_tokens(valkey, tokens)) as wire:
        number = await wire.ask("CLIENT", "ID")
        await eventually(lambda: tokens.given > 1)
        await eventually(lambda: wire._line is None or wire._line.closed)  # pyright: ignore[reportPrivateUsage]
        assert await wire.ask("CLIENT", "ID") != number


async def test_without_a_token_redis_counts_as_down(valkey: Service):
    class Broken(CredentialProvider):
        async def get_credentials_async(self) -> tuple[str, str]:
            raise RuntimeError("no identity here")

    async with wired(with_tokens(valkey, Broken())) as wire:
        with pytest.raises(NotConnected):
            await wire.ask("PING")


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


# ── Over TLS ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-made one for 127.0.0.1, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
async def tls_port(certificate: Path, valkey: Service) -> AsyncIterator[int]:
    """Valkey behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    port = urlsplit(valkey.url).port

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer), return_exceptions=True)

    async with served(talk, context) as port_of_front:
        yield port_of_front


def tls_client(port: int, valkey: Service, **more: Any) -> redis.asyncio.Redis:
    password = urlsplit(valkey.url).password
    return redis.asyncio.Redis.from_url(
        f"rediss://:{password}@127.0.0.1:{port}/2", socket_timeout=1, socket_connect_timeout=1, **more
    )


async def test_it_speaks_tls_with_the_clients_own_settings(tls_port: int, valkey: Service, certificate: Path):
    async with wired(tls_client(tls_port, valkey, ssl_ca_certs=str(certificate))) as wire:
        answers = await asyncio.gather(*(wire.run(ECHO, ("k",), (n,)) for n in range(200)))
        assert [answer[1] for answer in answers] == [str(n).encode() for n in range(200)]
        assert b" db=2 " in await wire.ask("CLIENT", "INFO")


async def test_it_refuses_a_certificate_that_nobody_vouches_for(tls_port: int, valkey: Service):
    async with wired(tls_client(tls_port, valkey)) as wire:
        with pytest.raises(ssl.SSLCertVerificationError):
            await wire.ask("PING")
