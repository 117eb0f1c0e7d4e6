"""Svix's ids: a prefix and a KSUID with 4 ms resolution, sortable as text (facts/svix.md §2, Ids)."""

import secrets

APP = "app_"
ATTEMPT = "atmpt_"
ENDPOINT = "ep_"
MESSAGE = "msg_"
ORG = "org_"
TASK = "qtask_"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_KSUID_EPOCH_MS = 1_400_000_000_000
_LENGTH = 27
_PAYLOAD_BITS = 120


class _Generator:
    """Ids made within the same 4 ms rise too, so that a list shows the order of creation."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, at: int) -> int:
        number = _at(at) | secrets.randbits(_PAYLOAD_BITS)
        same_tick = number >> _PAYLOAD_BITS == self._last >> _PAYLOAD_BITS
        if same_tick and number <= self._last:
            number = self._last + 1 + secrets.randbits(32)
        self._last = max(self._last, number)
        return number


_generator = _Generator()


def new_id(prefix: str, at: int) -> str:
    """A new id for something that happened at `at` (microseconds)."""
    return prefix + _base62(_generator.next(at))


def start_id(prefix: str, at: int) -> str:
    """The smallest id of the 4 ms in which `at` lies."""
    return prefix + _base62(_at(at))


def end_id(prefix: str, at: int) -> str:
    """The greatest id of the 4 ms in which `at` lies."""
    return prefix + _base62(_at(at) | (1 << _PAYLOAD_BITS) - 1)


def timestamp_ms(identifier: str) -> int:
    number = 0
    for character in identifier[-_LENGTH:]:
        number = number * 62 + _VALUES[character]
    stamp = number >> _PAYLOAD_BITS
    return _KSUID_EPOCH_MS + (stamp >> 8) * 1000 + (stamp & 0xFF) * 4


def _at(at: int) -> int:
    ms = max(at // 1000 - _KSUID_EPOCH_MS, 0)
    return (ms // 1000 << 8 | ms % 1000 // 4) << _PAYLOAD_BITS


def _base62(number: int) -> str:
    digits = [""] * _LENGTH
    for place in range(_LENGTH - 1, -1, -1):
        number, digit = divmod(number, 62)
        digits[place] = _ALPHABET[digit]
    return "".join(digits)
