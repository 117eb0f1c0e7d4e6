"""Everything PinkSync refuses or fails with, as one tree. Each class carries its HTTP status and stable code.

    PinkSyncError                        500 internal_error
    ├── BadRequest                       400 bad_request
    │   ├── UnreadableBody               400 unreadable_body
    │   ├── InvalidParameter             400 invalid_parameter
    │   └── InvalidSignature             400 invalid_signature
    ├── Unauthorized                     401 unauthorized
    ├── Forbidden                        403 forbidden
    │   ├── NotThroughFrontDoor          403 not_through_front_door
    │   ├── AdminOnly                    403 admin_only
    │   ├── InsufficientScope            403 insufficient_scope
    │   ├── PartnerSuspended             403 partner_suspended
    │   └── PartnerInactive              403 partner_inactive
    ├── NotFound                         404 not_found
    ├── MethodNotAllowed                 405 method_not_allowed
    ├── Conflict                         409 conflict
    │   ├── IllegalMove                  409 illegal_move
    │   ├── NeedsReauth                  409 needs_reauth
    │   └── IdempotencyInFlight          409 idempotency_in_flight
    ├── Gone                             410 gone
    ├── LengthRequired                   411 length_required
    ├── TooLarge                         413 too_large
    ├── UnsupportedMediaType             415 unsupported_media_type
    ├── InvalidBody                      422 invalid_body
    │   ├── UnknownEventType             422 unknown_event_type
    │   ├── ScopeNotHeld                 422 scope_not_held
    │   ├── UrlNotAllowed                422 url_not_allowed
    │   └── IdempotencyKeyReused         422 idempotency_key_reused
    ├── RateLimited                      429 rate_limited
    ├── UpstreamFailed                   502 upstream_failed
    │   ├── BackendFailed                502 backend_failed
    │   ├── EgressDenied                 502 egress_denied
    │   ├── UpstreamRedirected           502 upstream_redirected
    │   ├── UpstreamTooLarge             502 upstream_too_large
    │   └── UpstreamUnreachable          502 upstream_unreachable
    ├── Unavailable                      503 unavailable
    │   ├── StoreUnavailable             503 store_unavailable
    │   ├── ArchiveUnavailable           503 archive_unavailable
    │   ├── WebhookServiceUnavailable    503 webhook_service_unavailable
    │   ├── BackendUnavailable           503 backend_unavailable
    │   │   └── BackendTimeout           504 backend_unavailable
    │   ├── CircuitOpen                  503 upstream_unavailable
    │   ├── TokenUnavailable             503 token_unavailable
    │   └── Overloaded                   503 overloaded
    └── UpstreamTimeout                  504 upstream_timeout

A class's docstring is its default detail. Problem documents (RFC 9457) are made from these in
functions/http.py and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule of a body: where (RFC 6901 JSON pointer) and what."""

    pointer: str
    detail: str


@dataclass(eq=False)
class PinkSyncError(Exception):
    """The gateway failed; the request id finds the cause in its log."""

    detail: str | None = None
    violations: Sequence[Violation] = ()
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    members: Mapping[str, object] = field(default_factory=dict[str, object])
    """More members of the problem document, such as `required_scope`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = ""
    """Empty: the reason phrase of the status."""

    def __post_init__(self) -> None:
        super().__init__(self.message)

    @property
    def message(self) -> str:
        return self.detail or (type(self).__doc__ or "").strip()


class BadRequest(PinkSyncError):
    """The request cannot be understood."""

    status, code = 400, "bad_request"


class UnreadableBody(BadRequest):
    """The body is not JSON that can be read."""

    code = "unreadable_body"


class InvalidParameter(BadRequest):
    """A query parameter has a value that is not allowed."""

    code = "invalid_parameter"


class InvalidSignature(BadRequest):
    """The signature does not match this body, or it is too old."""

    code, title = "invalid_signature", "Invalid signature"


class Unauthorized(PinkSyncError):
    """A valid API key is needed: `Authorization: Bearer <api key>` or `X-API-Key: <api key>`."""

    status, code = 401, "unauthorized"


class Forbidden(PinkSyncError):
    """This key may not do that."""

    status, code = 403, "forbidden"


class NotThroughFrontDoor(Forbidden):
    """This address is not open; call the public one."""

    code = "not_through_front_door"


class AdminOnly(Forbidden):
    """Only an admin key may do that."""

    code = "admin_only"


class InsufficientScope(Forbidden):
    """The key lacks a scope that this route needs."""

    code = "insufficient_scope"


class PartnerSuspended(Forbidden):
    """This partner is suspended; its keys do nothing until it is activated again."""

    code = "partner_suspended"


class PartnerInactive(Forbidden):
    """This partner is inactive; its keys do nothing until it is activated again."""

    code = "partner_inactive"


class NotFound(PinkSyncError):
    """There is no such thing here, or not for this key."""

    status, code = 404, "not_found"


class MethodNotAllowed(PinkSyncError):
    """The path exists, but not with this method; `Allow` says which ones do."""

    status, code = 405, "method_not_allowed"


class Conflict(PinkSyncError):
    """The request conflicts with what is already there."""

    status, code = 409, "conflict"


class IllegalMove(Conflict):
    """The partner's present status does not allow that."""

    code = "illegal_move"


class NeedsReauth(Conflict):
    """The partner's authorization server takes our grant no longer; connect the partner again."""

    code = "needs_reauth"


class IdempotencyInFlight(Conflict):
    """A request with this Idempotency-Key is still being worked on; try again in a moment."""

    code = "idempotency_in_flight"


class Gone(PinkSyncError):
    """It was here, and its time is over."""

    status, code = 410, "gone"


class LengthRequired(PinkSyncError):
    """Send the body with a Content-Length; a chunked body cannot be read here."""

    status, code = 411, "length_required"


class TooLarge(PinkSyncError):
    """The body is larger than this route takes."""

    status, code = 413, "too_large"


class UnsupportedMediaType(PinkSyncError):
    """Send the body as `Content-Type: application/json`, in UTF-8."""

    status, code = 415, "unsupported_media_type"


class InvalidBody(PinkSyncError):
    """The body breaks a rule; `errors` says which one and where."""

    status, code = 422, "invalid_body"


class UnknownEventType(InvalidBody):
    """The event type is not known here; `GET /api/event-types` lists those that are."""

    code = "unknown_event_type"


class ScopeNotHeld(InvalidBody):
    """A key cannot grant a scope that it lacks."""

    code = "scope_not_held"


class UrlNotAllowed(InvalidBody):
    """This URL is not one that PinkSync may call."""

    code = "url_not_allowed"


class IdempotencyKeyReused(InvalidBody):
    """This Idempotency-Key was used before with another request; use a new one."""

    code = "idempotency_key_reused"


class RateLimited(PinkSyncError):
    """Too many requests; `Retry-After` says in how many seconds the next one is allowed."""

    status, code, title = 429, "rate_limited", "Rate limit exceeded"


class UpstreamFailed(PinkSyncError):
    """A service behind the gateway answered in a way that cannot be used."""

    status, code = 502, "upstream_failed"


class Unavailable(PinkSyncError):
    """The gateway cannot do that right now; try again shortly."""

    status, code = 503, "unavailable"


class StoreUnavailable(Unavailable):
    """The database cannot be reached right now; nothing was changed."""

    code = "store_unavailable"


class ArchiveUnavailable(Unavailable):
    """The archive of the audit trail cannot be reached. Newer rows can be read."""

    code = "archive_unavailable"


class WebhookServiceUnavailable(Unavailable):
    """The webhook service cannot be reached right now."""

    code = "webhook_service_unavailable"


class Overloaded(Unavailable):
    """Too many requests are waiting; try again in a second."""

    code = "overloaded"


class BackendFailed(UpstreamFailed):
    """The business backend failed on this request."""

    code = "backend_failed"


class EgressDenied(UpstreamFailed):
    """The partner's address is not one that PinkSync may call."""

    code = "egress_denied"


class UpstreamRedirected(UpstreamFailed):
    """The partner's API answered with a redirect; redirects are never followed."""

    code = "upstream_redirected"


class UpstreamTooLarge(UpstreamFailed):
    """The partner's API answered with more, or in another encoding, than the gateway takes."""

    code = "upstream_too_large"


class UpstreamUnreachable(UpstreamFailed):
    """The partner's API cannot be reached."""

    code = "upstream_unreachable"


class BackendUnavailable(Unavailable):
    """The business backend cannot be reached right now."""

    code = "backend_unavailable"


class CircuitOpen(Unavailable):
    """The partner's API failed too often just now; it is left alone for a moment."""

    code = "upstream_unavailable"


class TokenUnavailable(Unavailable):
    """The partner's authorization server gives no access token right now."""

    code = "token_unavailable"


class BackendTimeout(BackendUnavailable):
    """The business backend did not answer in time."""

    status = 504


class UpstreamTimeout(PinkSyncError):
    """The partner's API did not answer in time."""

    status, code = 504, "upstream_timeout"
