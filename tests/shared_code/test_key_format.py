"""The form of an API key: 70 characters, and no typo in them goes unnoticed."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_code.services.key_format import ALPHABET, LENGTH, checksum, mint, parse

MODES = st.sampled_from(["live", "test"])
KEYS = st.builds(
    lambda mode, id, secret: (body := f"pk_{mode}_{id}_{secret}") + checksum(body),
    MODES,
    st.text(ALPHABET, min_size=12, max_size=12),
    st.text(ALPHABET, min_size=43, max_size=43),
)
ANY_CHARACTER = st.sampled_from(string.printable) | st.characters()


@given(KEYS)
def test_a_well_formed_key_is_read_back(key: str) -> None:
    mode = key[3:7]
    presented = parse(key, mode)
    assert presented
    assert (presented.text, presented.key_id) == (key, key[:20])


@pytest.mark.parametrize("mode", ["live", "test"])
def test_a_minted_key_has_the_form_of_the_contract(mode: str) -> None:
    keys = [mint(mode).text for _ in range(50)]
    assert all(re.fullmatch(rf"pk_{mode}_[0-9A-Za-z]{{12}}_[0-9A-Za-z]{{49}}", key) for key in keys)
    assert all(parse(key, mode) for key in keys)
    assert len(set(keys)) == 50


@given(KEYS, st.integers(0, LENGTH - 1), ANY_CHARACTER)
def test_one_changed_character_is_refused(key: str, place: int, character: str) -> None:
    changed = key[:place] + character + key[place + 1 :]
    assert (parse(changed, key[3:7]) is None) == (changed != key)


@given(KEYS, st.integers(0, LENGTH - 2))
def test_two_neighbours_in_the_wrong_order_are_refused(key: str, place: int) -> None:
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    assert (parse(swapped, key[3:7]) is None) == (swapped != key)


@given(KEYS, st.integers(0, LENGTH), ANY_CHARACTER)
def test_a_character_more_or_less_is_refused(key: str, place: int, character: str) -> None:
    assert parse(key[:place] + character + key[place:], key[3:7]) is None
    assert parse(key[:place] + key[place + 1 :], key[3:7]) is None or place == LENGTH


@given(KEYS)
def test_a_key_of_the_other_mode_is_refused(key: str) -> None:
    assert parse(key, "test" if key.startswith("pk_live_") else "live") is None


@given(st.text(max_size=100) | st.text(ALPHABET + "_", min_size=LENGTH, max_size=LENGTH), MODES)
def test_no_text_at_all_does_harm(text: str, mode: str) -> None:
    parse(text, mode)


@given(st.binary(max_size=60))
def test_a_checksum_is_six_characters_of_the_alphabet(raw: bytes) -> None:
    found = checksum(raw.hex())
    assert len(found) == 6
    assert set(found) <= set(ALPHABET)


def test_a_key_is_not_shown_by_accident() -> None:
    key = mint("live")
    assert key.text not in repr(key)
