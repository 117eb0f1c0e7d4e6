"""Which URLs PinkSync may be told to call (facts/security.md 0.8 and 2.10)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_code.adapters.httpx_url_rule import HttpxUrlRule
from shared_code.errors import UrlNotAllowed

RULE = HttpxUrlRule()
LABEL_63 = "a" * 63
GOOD = [
    "https://shop.example",
    "https://shop.example/",
    "HTTPS://SHOP.EXAMPLE/",
    "https://shop.example./",
    "https://shop.example:443/hook",
    "https://shop.example:8443/hook?tenant=1",
    "https://a.b.c.d.shop.example/x/y;z=1?q=a,b",
    "https://my_shop.example/",
    "https://1.shop.example/",
    "https://0x7f.example/",
    "https://xn--bcher-kva.example/",
    "https://bücher.example/",
    "https://shop.example/%2e%2e/%00",
    "https://shop.example?next=https://other.example/",
    "https://internal.shop.example/",
    "https://localhost.shop.example/",
    f"https://{LABEL_63}.example/",
    "https://shop.example/" + "x" * (2048 - 21),
]
BAD = {
    "no scheme, or another": [
        *(
            "shop.example",
            "//shop.example/",
            "/hook",
            "",
            "https:",
            "https://",
            "https:///hook",
            "http://shop.example/",
        ),
        *("ftp://shop.example/", "file:///etc/passwd", "gopher://shop.example/", "javascript:alert(1)", "data:,x"),
        *("unix:///var/run/docker.sock", "wss://shop.example/"),
    ],
    "this machine and its neighbours": [
        *("https://localhost/", "https://LOCALHOST./", "https://intranet/", "https://a.localhost/"),
        *("https://printer.local/", "https://db.internal/", "https://metadata.google.internal/"),
        *("https://router.home.arpa/", "https://x.localdomain/", "https://x.LOCAL./", "https://x.local\u3002/"),
    ],
    "addresses, public ones too": [
        *("https://127.0.0.1/", "https://127.0.0.1./", "https://10.0.0.1/", "https://192.168.1.1/", "https://8.8.8.8/"),
        *("https://100.64.0.1/", "https://169.254.169.254/", "https://168.63.129.16/", "https://0.0.0.0/"),
        *("https://224.0.0.1/", "https://[::1]/", "https://[::]/", "https://[::ffff:127.0.0.1]/"),
        *("https://[64:ff9b::7f00:1]/", "https://[fe80::1%25eth0]/", "https://[fec0::1]/", "https://[::7f00:1]/"),
    ],
    "addresses in disguise": [
        *("https://2130706433/", "https://127.1/", "https://0/", "https://0x7f.1/", "https://0x7f000001/"),
        *("https://0177.0.0.1/", "https://017700000001/", "https://①②⑦.⓪.⓪.①/", "https://１２７.0.0.1/"),
        *("https://0x7f000001./", "https://foo.0x10/", "https://foo.123/", "https://1.1.1/"),
    ],
    "users and fragments": [
        *("https://user@shop.example/", "https://user:pw@shop.example/", "https://shop.example@127.0.0.1/"),
        *("https://shop.example/#part", "https://shop.example/%0d#x"),
    ],
    "other ports": [
        *("https://shop.example:80/", "https://shop.example:22/", "https://shop.example:0/"),
        *("https://shop.example:65536/", "https://shop.example:x/", "https://shop.example:443:443/"),
    ],
    "what parsers read in different ways": [
        *("https://shop.example\\@evil.example/", "https:\\\\shop.example/", "https://shop .example/"),
        *(
            "https://shop.example/a b",
            "https://shop.example/\t",
            "https://shop.example/\n",
            "https://shop.example/\x7f",
        ),
        *(" https://shop.example/", "https://shop.example%2f.evil.example/", "https://%73hop.example/"),
        *("https://shop.example%00.evil.example/", "https://shop.example,evil.example/", "https://a;b.example/"),
        *("https://.shop.example/", "https://shop..example/", "https://.", "https://-shop.example/"),
        *("https://*.shop.example/", "https://[shop.example]/", "https://xn--/", "https://local\xadhost/"),
    ],
    "too long": [
        *(f"https://{'a.' * 130}example/", f"https://{LABEL_63}a.example/", "https://shop.example/" + "x" * 2048),
    ],
}


@pytest.mark.parametrize("url", GOOD)
def test_a_public_https_url_is_allowed(url: str) -> None:
    RULE(url)


@pytest.mark.parametrize("url", [url for urls in BAD.values() for url in urls])
def test_any_other_is_refused_at_its_place_in_the_body(url: str) -> None:
    with pytest.raises(UrlNotAllowed) as refusal:
        RULE(url)
    assert [violation.pointer for violation in refusal.value.violations] == ["/url"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "http://localhost/", "https://[::1]:1/"])
def test_only_the_devstack_may_call_this_machine(url: str) -> None:
    HttpxUrlRule(allow_loopback=True)(url)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://shop.example/", "http://user@127.0.0.1/", "ftp://127.0.0.1/"]
)
def test_the_devstack_may_call_nothing_else_besides(url: str) -> None:
    with pytest.raises(UrlNotAllowed):
        HttpxUrlRule(allow_loopback=True)(url)


@given(st.text(max_size=80) | st.from_regex(r"https?://[^/]{0,40}(:\d{0,6})?(/.{0,20})?", fullmatch=True))
def test_no_text_at_all_is_met_with_anything_but_yes_or_no(url: str) -> None:
    for rule in (RULE, HttpxUrlRule(allow_loopback=True)):
        try:
            rule(url)
        except UrlNotAllowed:
            continue
