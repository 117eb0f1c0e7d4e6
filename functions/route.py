"""What an HTTP function is, to routing, serving and OpenAPI alike; and what its handler is given and gives."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict

from pydantic import BaseModel

from functions import replies
from functions.request import Incoming
from shared_code.gateway import Gateway
from shared_code.model import Caller, carrier
from shared_code.services.access import Admission

ALL_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
API_BODY_BYTES = 1024 * 1024
SIGNED_BODY_BYTES = 256 * 1024


class Access(StrEnum):
    """Who may call a route. Closed until one of these opens it."""

    OPEN = "open"
    SIGNED = "signed"
    """No key, but a signature that the handler itself checks on the raw body."""
    KEY = "key"
    """Any valid key; the service shows it nothing but its own partner's."""
    ADMIN = "admin"
    METRICS = "metrics"
    """An admin key, or the token that monitoring tools have."""


class Nothing(BaseModel):
    """A body or query that carries nothing."""


@carrier
class Call[Body: BaseModel = Nothing, Query: BaseModel = Nothing]:
    """One request as its handler sees it: proven, checked and parsed."""

    gateway: Gateway
    request: Incoming
    body: Body
    query: Query
    _caller: Caller | None = None
    _admission: Admission | None = None

    @property
    def caller(self) -> Caller:
        """Who calls. Only routes with Access.KEY or Access.ADMIN have one."""
        if self._caller is None:
            raise RuntimeError("an open route has no caller")
        return self._caller

    @property
    def admission(self) -> Admission:
        """How the caller was let in: its limit, and what the cache knew besides."""
        if self._admission is None:
            raise RuntimeError("an open route admits nobody")
        return self._admission

    @property
    def path(self) -> Mapping[str, str]:
        return self.request.path


@carrier
class Reply:
    """What a handler answers. `model` becomes the JSON body; `content` is for what is not JSON."""

    model: BaseModel | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes | None = None
    content_type: str = replies.JSON
    settle: Callable[[], Awaitable[BaseModel]] | None = None
    """Runs after the commit and gives the body again, for what becomes known only then."""


type Handler = Callable[[Any], Awaitable[Reply]]


class Options(TypedDict, total=False):
    """What a registration may say besides its method, route, access and tag."""

    scope: str
    body: type[BaseModel]
    query: type[BaseModel]
    answer: type[BaseModel]
    status: int
    content_type: str
    once: bool
    cached: bool
    raw_body: bool
    costly: int
    page: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One registered HTTP function."""

    name: str
    summary: str
    methods: tuple[str, ...]
    route: str
    access: Access
    tag: str
    handler: Handler
    scope: str | None = None
    """May name path parameters: `read:{resource}`."""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200
    content_type: str = replies.JSON
    once: bool = False
    """Honours Idempotency-Key."""
    cached: bool = False
    """A kept answer of the backend may do."""
    raw_body: bool = False
    """The handler passes the body on as it is."""
    costly: int = 0
    """Requests a minute that a partner may make here, within its own limit; 0: only its own holds."""

    page: bool = False
    """For a browser: what it refuses is a page too."""

    @property
    def body_limit(self) -> int:
        return SIGNED_BODY_BYTES if self.access is Access.SIGNED else API_BODY_BYTES
