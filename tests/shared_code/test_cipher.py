"""Secrets at rest: opened where they were sealed, and nowhere else."""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_code.adapters.aesgcm_cipher import AesGcmCipher
from shared_code.errors import PinkSyncError

OLD, NEW = os.urandom(32), os.urandom(32)
CIPHER = AesGcmCipher({"k2": NEW, "k1": OLD})
TEXT = st.text(max_size=50)


@given(st.binary(max_size=500), TEXT, TEXT)
def test_what_is_sealed_opens_at_its_place(plain: bytes, owner: str, field: str) -> None:
    assert CIPHER.open(CIPHER.seal(plain, owner, field), owner, field) == plain


@given(st.binary(max_size=50), st.tuples(TEXT, TEXT), st.tuples(TEXT, TEXT))
def test_a_secret_moved_to_another_row_or_field_does_not_open(
    plain: bytes, here: tuple[str, str], there: tuple[str, str]
) -> None:
    if "|".join(here) == "|".join(there):
        return  # owners are UUIDs and key ids: no bar in them
    with pytest.raises(PinkSyncError):
        CIPHER.open(CIPHER.seal(plain, *here), *there)


@given(st.binary(max_size=50), st.integers(0, 10**6), st.integers(1, 255))
def test_one_changed_byte_is_noticed(plain: bytes, place: int, change: int) -> None:
    version, kid, text = CIPHER.seal(plain, "owner", "field").split(".")
    raw = bytearray(urlsafe_b64decode(text))
    raw[place % len(raw)] ^= change
    with pytest.raises(PinkSyncError):
        CIPHER.open(f"{version}.{kid}.{urlsafe_b64encode(raw).decode()}", "owner", "field")


@given(st.text(max_size=100) | st.from_regex(r"v1\.k[123]\.[A-Za-z0-9_=-]*", fullmatch=True))
def test_no_text_at_all_opens_or_fails_in_another_way(text: str) -> None:
    with pytest.raises(PinkSyncError, match="cannot be decrypted"):
        CIPHER.open(text, "owner", "field")


def test_the_newest_key_seals_and_every_kept_one_opens() -> None:
    sealed_before = AesGcmCipher({"k1": OLD}).seal(b"plain", "owner", "field")
    assert CIPHER.open(sealed_before, "owner", "field") == b"plain"
    assert CIPHER.seal(b"plain", "owner", "field").startswith("v1.k2.")
    with pytest.raises(PinkSyncError):
        AesGcmCipher({"k2": NEW}).open(sealed_before, "owner", "field")


def test_a_key_id_cannot_be_passed_off_as_another() -> None:
    same_key = AesGcmCipher({"k1": OLD, "k2": OLD})
    sealed = same_key.seal(b"plain", "owner", "field")
    with pytest.raises(PinkSyncError):
        same_key.open(sealed.replace("v1.k1.", "v1.k2."), "owner", "field")


def test_the_same_secret_never_looks_the_same_twice() -> None:
    assert len({CIPHER.seal(b"plain", "owner", "field") for _ in range(100)}) == 100


def test_a_cipher_shows_no_key() -> None:
    assert repr(CIPHER) == "AesGcmCipher()"
