"""What a door answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from devstack.svix_server.errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200) -> "Reply":
        return cls(status=status, body=orjson.dumps(value))

    @classmethod
    def refusal(cls, error: ApiError) -> "Reply":
        return cls.json(error.body, error.status)

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


NO_CONTENT = Reply(status=204)
