"""The form of an API key: `pk_live_<id>_<secret><checksum>`, base62 (facts/security.md 2.1).

12 characters of id, 43 of secret (256 bits), 6 of CRC-32 over all before them: 70 in all. The checksum
refuses typos and noise before any I/O; it protects nothing else.
"""

import re
import secrets
import zlib
from dataclasses import dataclass, field

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
"""Every two digits of base62, by their number: what each request works out takes three steps instead of six."""
FORM = re.compile(r"pk_(live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", re.ASCII)
LENGTH = 70
CHECKSUM_LENGTH = 6
KEY_ID_LENGTH = len("pk_live_") + 12


@dataclass(frozen=True, slots=True)
class PresentedKey:
    """A key as somebody showed it: well formed, but not yet proven."""

    text: str = field(repr=False)

    @property
    def key_id(self) -> str:
        return self.text[:KEY_ID_LENGTH]


def mint(mode: str) -> PresentedKey:
    """A new key from the system's random source. `mode` is `live` or `test`."""
    body = f"pk_{mode}_{random_text(12)}_{random_text(43)}"
    return PresentedKey(body + checksum(body))


def parse(text: str, mode: str) -> PresentedKey | None:
    """The key, or None when it is none of this deployment's: refused with no I/O at all."""
    if len(text) != LENGTH or not FORM.fullmatch(text) or not text.startswith(f"pk_{mode}_"):
        return None
    body = text[:-CHECKSUM_LENGTH]
    return PresentedKey(text) if checksum(body) == text[-CHECKSUM_LENGTH:] else None


def checksum(body: str) -> str:
    rest, last = divmod(zlib.crc32(body.encode("ascii")), len(PAIRS))
    first, middle = divmod(rest, len(PAIRS))
    return PAIRS[first] + PAIRS[middle] + PAIRS[last]


def random_text(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
