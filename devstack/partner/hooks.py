"""What a webhook receiver is told by `PUT /webhooks/{name}`: its secret, and how to answer."""

import base64
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from svix.webhooks import Webhook


class Respond(BaseModel):
    """How to answer the next deliveries; without `times`, all of them until told otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    status: int = Field(default=204, ge=200, le=599)
    delay_ms: int = Field(default=0, ge=0, le=120_000)
    times: int | None = Field(default=None, ge=1)


class HookSettings(BaseModel):
    """What `PUT /webhooks/{name}` takes: one of the two, or both; null takes it back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret: str | None = None
    respond: Respond | None = None

    @field_validator("secret")
    @classmethod
    def _must_be_usable(cls, secret: str | None) -> str | None:
        if secret is not None:
            _check_secret(secret)
        return secret

    @model_validator(mode="after")
    def _must_say_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give secret, respond, or both")
        return self

    def after_one(self) -> "HookSettings":
        """The settings once one more delivery has been answered."""
        if self.respond is None or self.respond.times is None:
            return self
        left = self.respond.times - 1
        respond = self.respond.model_copy(update={"times": left}) if left else None
        return self.model_copy(update={"respond": respond})


def _check_secret(secret: str) -> None:
    """The library decodes leniently and would take nonsense for a key; a person should hear of it at once."""
    if not secret.startswith("whsec_"):
        raise ValueError("a secret looks like whsec_<base64>")
    try:
        key = base64.b64decode(_padded(secret.removeprefix("whsec_")), validate=True)
    except ValueError as problem:
        raise ValueError("what follows whsec_ is not base64") from problem
    if not key:
        raise ValueError("nothing follows whsec_")
    Webhook(secret)


def _padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)
