"""Signed messages that are wrong in one way each."""

import base64
import time
from collections.abc import Callable

from tests.functions.inbound.messages import BODY, signature, signed
from tests.functions.stack import Headers

LATER = 310


def with_(**changes: str) -> Callable[[str], Headers]:
    """All right but for these."""
    return lambda secret: signed(secret, BODY) | {f"svix-{name}": value for name, value in changes.items()}


def signature_as(turned: Callable[[str], str]) -> Callable[[str], Headers]:
    def make(secret: str) -> Headers:
        headers = signed(secret, BODY)
        return headers | {"svix-signature": turned(headers["svix-signature"])}

    return make


def without(name: str) -> Callable[[str], Headers]:
    return lambda secret: {key: value for key, value in signed(secret, BODY).items() if key != f"svix-{name}"}


def timestamp_as(text: str) -> Callable[[str], Headers]:
    """Signed with it, too."""
    return lambda secret: {
        "svix-id": "msg_1",
        "svix-timestamp": text,
        "svix-signature": signature(secret, "msg_1", text, BODY),
    }


def mixed(secret: str) -> Headers:
    """Half of it under one name, half under the other."""
    svix, standard = (
        signed(secret, BODY, message_id="msg_1"),
        signed(secret, BODY, message_id="msg_1", prefix="webhook"),
    )
    return {name: (svix | standard)[name] for name in ("svix-id", "webhook-timestamp", "webhook-signature")}


NOW = str(int(time.time()))
GARBAGE: dict[str, Callable[[str], Headers]] = {
    "no headers": lambda secret: {},
    "no id": without("id"),
    "no timestamp": without("timestamp"),
    "no signature": without("signature"),
    "stale": lambda secret: signed(secret, BODY, at=int(time.time()) - LATER),
    "from the future": lambda secret: signed(secret, BODY, at=int(time.time()) + LATER),
    "a timestamp of 1970": timestamp_as("0"),
    "a timestamp in words": timestamp_as("now"),
    "a timestamp with a point": timestamp_as(f"{NOW}.0"),
    "a timestamp with an underscore": timestamp_as(f"{NOW[:5]}_{NOW[5:]}"),
    "a timestamp with a sign": timestamp_as(f"+{NOW}"),
    "a timestamp in milliseconds": timestamp_as(f"{NOW}000"),
    "a timestamp beyond every integer": timestamp_as("9" * 400),
    "an empty timestamp": timestamp_as(""),
    "no comma": signature_as(lambda right: right.replace(",", "")),
    "two commas": signature_as(lambda right: right.replace(",", ",,")),
    "a comma alone": with_(signature=","),
    "an empty signature": with_(signature=""),
    "bad base64": with_(signature="v1,!!!!"),
    "base64 with bad padding": signature_as(lambda right: right.rstrip("=")),
    "another version": signature_as(lambda right: right.replace("v1,", "v2,")),
    "an asymmetric one alone": with_(signature=f"v1a,{'A' * 86}=="),
    "no version": signature_as(lambda right: right.removeprefix("v1,")),
    "two spaces": signature_as(lambda right: f"v1,{'A' * 43}=  {right}"),
    "a signature that is not ASCII": with_(signature="v1,Grüße"),
    "a hundred signatures": signature_as(lambda right: " ".join([right] * 100)),
    "another message's id": with_(id="msg_other"),
    "an id with a dot": lambda secret: signed(secret, BODY, message_id="msg.1"),
    "an id that is too long": lambda secret: signed(secret, BODY, message_id="m" * 65),
    "an id with a space": lambda secret: signed(secret, BODY, message_id="msg 1"),
    "half svix, half standard": mixed,
    "both sets at once": lambda secret: signed(secret, BODY) | signed(secret, BODY, prefix="webhook"),
    "a right set and half another": lambda secret: signed(secret, BODY) | {"webhook-id": "msg_1"},
    "another secret": lambda secret: signed("whsec_" + base64.b64encode(b"x" * 32).decode(), BODY),
    "an empty secret": lambda secret: signed("whsec_", BODY),
    "another body": lambda secret: signed(secret, BODY + b" "),
}


def raw(headers: Headers) -> dict[bytes, bytes]:
    """httpx would refuse to send what is not ASCII."""
    return {name.encode(): value.encode() for name, value in headers.items()}
