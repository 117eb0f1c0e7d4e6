"""Partners that misbehave cost the gateway neither memory nor time."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import psutil
import pytest

from tests.fault_proxy import Heard, Liar, answer
from tests.functions.stack import Connect, Connected, Headers, Stack, proxy, refused
from tests.services import eventually, free_port
from tests.shop import Shop

MIB = 1024 * 1024


def test_a_redirect_is_not_followed(api: httpx.Client, admin: Headers, partner: Connected, shop: Shop, liar: Liar):
    shop.misbehaves(redirect_to=f"{liar.url}/stolen")
    answered = api.get(proxy(partner), headers=admin)
    refused(answered, 502, "upstream_redirected")
    assert ("location" in answered.headers, len(shop.asked()), liar.heard) == (False, 1, [])


def endless(heard: Heard) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    while True:
        yield b" " * MIB


def test_bombs_and_endless_answers_are_cut_and_cost_no_memory(
    api: httpx.Client, admin: Headers, stack: Stack, partner: Connected, shop: Shop, false_friend: Connected, liar: Liar
):
    api.get(proxy(partner), headers=admin).raise_for_status()
    liar.tells(endless)
    refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_too_large")
    host = psutil.Process(stack.host.process.pid)
    before = host.memory_info().rss
    shop.misbehaves(gzip_bomb=256)
    for _ in range(2):
        refused(api.get(proxy(partner), headers=admin), 502, "upstream_too_large")
    with ThreadPoolExecutor(4) as pool:
        for answered in pool.map(lambda _: api.get(proxy(false_friend), headers=admin), range(8)):
            refused(answered, 502, "upstream_too_large")
    assert host.memory_info().rss - before < 96 * MIB


def test_an_answer_of_just_eight_mebibytes_passes(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    body = b"x" * (8 * MIB)
    liar.tells(answer(200, body))
    assert api.get(proxy(false_friend), headers=admin).content == body
    liar.tells(answer(200, body + b"x"))
    refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_too_large")


def test_an_encoding_that_was_not_asked_for_is_refused(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar
):
    for encoding in ("gzip", "br", "deflate", "gzip, identity", "x-unheard-of"):
        liar.tells(answer(200, b"x", f"Content-Encoding: {encoding}"))
        refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_too_large")
    liar.tells(answer(200, b"x", "Content-Encoding: identity"))
    assert api.get(proxy(false_friend), headers=admin).content == b"x"


def dripping(heard: Heard) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    for _ in range(600):
        time.sleep(0.1)
        yield b"."


def silent(heard: Heard) -> Iterator[bytes]:
    time.sleep(60)
    yield b""


def test_a_dripping_and_a_silent_partner_are_given_up_in_time(
    api: httpx.Client, admin: Headers, false_friend: Connected, partner: Connected, liar: Liar
):
    def mood(heard: Heard) -> Iterator[bytes]:
        return dripping(heard) if heard.target.endswith("drip") else silent(heard)

    liar.tells(mood)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(api.get, proxy(false_friend, mood), headers=admin) for mood in ("drip", "silence")]
        eventually(lambda: len(liar.heard) == 2)
        assert api.get(proxy(partner), headers=admin).status_code == 200
        for each in waiting:
            refused(each.result(), 504, "upstream_timeout")
    assert time.monotonic() - began < 16


@pytest.mark.parametrize("lie", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"])
def test_a_partner_that_does_not_speak_http_is_unreachable(
    api: httpx.Client, admin: Headers, false_friend: Connected, liar: Liar, lie: bytes
):
    liar.tells(lambda heard: [lie])
    refused(api.get(proxy(false_friend), headers=admin), 502, "upstream_unreachable")
    assert len(liar.heard) == 1


def test_a_partner_that_is_not_there_is_left_alone_after_five_tries_and_others_are_not(
    api: httpx.Client, admin: Headers, connect: Connect, partner: Connected
):
    absent = connect(api_endpoint=f"http://127.0.0.1:{free_port()}")
    for _ in range(5):
        refused(api.get(proxy(absent), headers=admin), 502, "upstream_unreachable")
    left_alone = api.get(proxy(absent), headers=admin)
    refused(left_alone, 503, "upstream_unavailable")
    assert int(left_alone.headers["retry-after"]) >= 1
    assert api.get(proxy(partner), headers=admin).status_code == 200
