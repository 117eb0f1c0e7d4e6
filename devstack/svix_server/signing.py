"""Endpoint secrets and signatures (facts/svix.md §2, Signing).

`whsec_` + base64 of 24 to 75 bytes signs with HMAC-SHA256; `whsk_` + base64 of an Ed25519 private and
public key signs with that, and only its public half `whpk_` is ever shown.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devstack.svix_server.clock import SECOND

MAX_OLD_KEYS = 10

_SYMMETRIC = "whsec_"
_ASYMMETRIC = "whsk_"
_PUBLIC = "whpk_"
_SIZES = range(24, 76)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldKey:
    """A rotated key that still signs, so receivers can switch at leisure."""

    key: str
    expires_at: int


def generate_secret() -> str:
    return _SYMMETRIC + b64encode(secrets.token_bytes(_SIZES.start)).decode()


def checked_secret(text: str) -> str:
    """The secret itself; ValueError if Svix would refuse it."""
    if text.startswith(_ASYMMETRIC):
        _private_key(text)
    elif text.startswith(_SYMMETRIC):
        if len(_decoded(text, _SYMMETRIC)) not in _SIZES:
            raise ValueError("secret length invalid")
    else:
        raise ValueError("invalid prefix")
    return text


def public_key(secret: str) -> str:
    """What `get_secret` shows."""
    if secret.startswith(_ASYMMETRIC):
        return _PUBLIC + b64encode(_decoded(secret, _ASYMMETRIC)[32:]).decode()
    return secret


def signatures(keys: Sequence[str], msg_id: str, timestamp: int, body: bytes) -> str:
    """The value of `svix-signature`: one signature per key, the current key's first."""
    to_sign = b"%b.%d.%b" % (msg_id.encode(), timestamp, body)
    return " ".join(_signature(key, to_sign) for key in keys)


def timestamp(at: int) -> int:
    return at // SECOND


def _signature(key: str, to_sign: bytes) -> str:
    if key.startswith(_ASYMMETRIC):
        return "v1a," + b64encode(_private_key(key).sign(to_sign)).decode()
    digest = hmac.digest(_decoded(key, _SYMMETRIC), to_sign, hashlib.sha256)
    return "v1," + b64encode(digest).decode()


def _private_key(secret: str) -> Ed25519PrivateKey:
    pair = _decoded(secret, _ASYMMETRIC)
    if len(pair) != 64:
        raise ValueError("secret length invalid")
    private = Ed25519PrivateKey.from_private_bytes(pair[:32])
    if private.public_key().public_bytes_raw() != pair[32:]:
        raise ValueError("Invalid key, failed signing test msg")
    return private


def _decoded(secret: str, prefix: str) -> bytes:
    return b64decode(secret.removeprefix(prefix), validate=True)
