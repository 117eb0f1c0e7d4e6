"""Bodies: whatever bytes come, the answer is a model, a 400 or a 422, and never another exception."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from functions import body
from functions.api_keys import NewKeyBody, RotateBody
from functions.events import EventBody, EventTypeBody
from functions.partners import ConnectBody, PatchBody
from functions.webhooks import RegisterBody
from shared_code.errors import InvalidBody, UnreadableBody

MODELS: list[type[BaseModel]] = [
    *(NewKeyBody, RotateBody, EventBody, EventTypeBody, ConnectBody, PatchBody, RegisterBody)
]
FIELDS = sorted({field.alias or name for model in MODELS for name, field in model.model_fields.items()})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
LIKELY = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6)
SANE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("abcé/~ ", max_size=5), inner, max_size=5),
    max_leaves=20,
)


def outcome(model: type[BaseModel], raw: bytes) -> BaseModel | int:
    """The model, or the status of the refusal; one that does not say what is wrong is no refusal."""
    try:
        return body.read(model, raw)
    except UnreadableBody as error:
        return error.status
    except InvalidBody as error:
        return error.status if error.violations else 500


@given(st.sampled_from(MODELS), st.binary(max_size=200))
@example(EventBody, b"[" * 100_000)
@example(EventBody, b'{"a":' * 100_000)
@example(EventBody, b"1" * 10_000)
@example(EventBody, b"\xff\xfe")
@example(EventBody, b'{"payload": "\\ud83d"}')
def test_arbitrary_bytes_never_raise_anything_else(model: type[BaseModel], raw: bytes) -> None:
    found = outcome(model, raw)
    assert found in (400, 422) or isinstance(found, model)


@given(st.sampled_from(MODELS), JSON | LIKELY)
def test_arbitrary_json_never_raises_anything_else(model: type[BaseModel], value: Any) -> None:
    found = outcome(model, json.dumps(value).encode())
    assert found in (400, 422) or isinstance(found, model)


@given(st.dictionaries(st.text("abcé/~ ", max_size=5), SANE, max_size=5))
def test_a_sane_payload_comes_through_as_it_is(payload: dict[str, Any]) -> None:
    raw = json.dumps({"event_type": "order.created", "payload": payload}).encode()
    assert body.read(EventBody, raw).payload == payload


@given(st.text("ab/~é0", max_size=8).filter(lambda name: name not in RotateBody.model_fields))
def test_a_pointer_leads_to_the_field(name: str) -> None:
    """RFC 6901: undoing the escapes gives the name again."""
    with pytest.raises(InvalidBody) as refusal:
        body.read(RotateBody, json.dumps({name: 1}).encode())
    (violation,) = refusal.value.violations
    assert violation.pointer.removeprefix("/").replace("~1", "/").replace("~0", "~") == name


def test_a_body_with_very_many_faults_names_the_first_twenty() -> None:
    raw = json.dumps({f"unknown{number}": 1 for number in range(500)}).encode()
    with pytest.raises(InvalidBody) as refusal:
        body.read(RotateBody, raw)
    assert len(refusal.value.violations) == 20


@pytest.mark.parametrize("depth", [31, 32, 33])
def test_exactly_32_levels_are_taken(depth: int) -> None:
    raw = b'{"event_type": "x", "payload": ' + b'{"a":' * (depth - 2) + b"1" + b"}" * (depth - 2) + b"}"
    assert isinstance(outcome(EventBody, raw), EventBody) == (depth <= 32)
