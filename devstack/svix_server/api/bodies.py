"""Request bodies: what they may hold and how Svix words what is wrong with them (facts/svix.md §1, §2)."""

import re
from collections.abc import Iterable
from typing import Annotated

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, Url

from devstack.svix_server import ids
from devstack.svix_server.errors import ApiError, Flaw, unprocessable
from devstack.svix_server.signing import checked_secret

_LIMITED = re.compile(r"[a-zA-Z0-9\-_.]+")
_CONTROL = re.compile(r"[\x00-\x08]")


class Body(BaseModel):
    """Unknown fields are ignored, as Svix does."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", strict=True)

    def given(self, field: str) -> bool:
        """Was it in the body, if only as null?"""
        return field in self.model_fields_set


def read_body[B: Body](kind: type[B], body: bytes) -> B:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise wrong_body(error) from None


def wrong_body(error: ValidationError) -> ApiError:
    return unprocessable(*(_flaw(details) for details in error.errors(include_url=False)))


def _flaw(details: ErrorDetails) -> Flaw:
    """Rules broken are `value_error`; what does not even parse is `value_error.jsondecode`."""
    loc = ("body", *(str(part) for part in details["loc"]))
    if details["type"] == "missing":
        return Flaw(loc, f"missing field `{loc[-1]}`", "value_error.jsondecode")
    if details["type"] in _RULES:
        return Flaw(loc, details["msg"].removeprefix("Value error, "))
    return Flaw(loc, details["msg"], "value_error.jsondecode")


_RULES = ("value_error", "greater_than_equal", "less_than_equal", "too_short", "too_long", "string_too_short")


def limited(text: str) -> str:
    """The rule for uids, event types and channels."""
    if not text:
        raise ValueError("String must be at least one character")
    if len(text) > 256:
        raise ValueError("String too long")
    if not _LIMITED.fullmatch(text):
        raise ValueError(r"String must match the following pattern: [a-zA-Z0-9\-_.].")
    return text


def _uid(prefix: str) -> AfterValidator:
    def check(uid: str) -> str:
        if uid.startswith(prefix):
            raise ValueError("Uids are not allowed to have the same prefix as the ID. Prefix with _?")
        return limited(uid)

    return AfterValidator(check)


def _no_control_characters(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("Control characters 0x00-0x08 not allowed.")
    return text


def _small(metadata: dict[str, str]) -> dict[str, str]:
    if len(orjson.dumps(metadata)) > 4096:
        raise ValueError("Metadata must not exceed 4096 bytes")
    return metadata


def _some(names: list[str]) -> list[str]:
    if not names:
        raise ValueError("eventTypes can't be empty, it must have at least one item.")
    return _distinct(names)


def _channels(most: int) -> AfterValidator:
    def check(channels: list[str]) -> list[str]:
        distinct = _distinct(channels)
        if not 1 <= len(distinct) <= most:
            raise ValueError(f"Channels must have at least 1 and at most {most} items, or be set to null.")
        return distinct

    return AfterValidator(check)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(limited(name) for name in names))


def _url(text: str) -> str:
    """Normalised by the very library that svix-server uses."""
    try:
        url = Url(text)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from None
    if url.scheme not in ("http", "https"):
        raise ValueError("Endpoint URL schemes must be http or https")
    if not url.host:
        raise ValueError("Endpoint URL must name a host")
    return str(url)


Text = Annotated[str, AfterValidator(_no_control_characters)]
Name = Annotated[str, Field(min_length=1), AfterValidator(_no_control_characters)]
Metadata = Annotated[
    dict[str, str], BeforeValidator(lambda given: {} if given is None else given), AfterValidator(_small)
]
ThrottleRate = Annotated[int, Field(ge=1, le=65_535)]
ApplicationUid = Annotated[str, _uid(ids.APP)]
EndpointUid = Annotated[str, _uid(ids.ENDPOINT)]
EventId = Annotated[str, _uid(ids.MESSAGE)]
EventTypeName = Annotated[str, AfterValidator(limited)]
EventTypeNames = Annotated[list[str], AfterValidator(_some)]
MessageChannels = Annotated[list[str], _channels(5)]
EndpointChannels = Annotated[list[str], _channels(10)]
EndpointUrl = Annotated[str, Field(min_length=1, max_length=65_536), AfterValidator(_url)]
Secret = Annotated[str, AfterValidator(checked_secret)]
Moment = AwareDatetime
