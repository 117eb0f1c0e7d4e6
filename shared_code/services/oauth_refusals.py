"""Why a browser on its way to connect a partner is turned away. The words are ours, never the other side's."""

from enum import StrEnum
from urllib.parse import urlsplit
from uuid import UUID

from shared_code.model import Caller, Grant, OAuthLink, OAuthProvider, OAuthState, Origin, Severity
from shared_code.services.audit import Fact


class Refusal(StrEnum):
    LINK_UNKNOWN = "link_unknown"
    LINK_USED = "link_used"
    LINK_EXPIRED = "link_expired"
    COOKIE_MISSING = "cookie_missing"
    STATE_UNKNOWN = "state_unknown"
    STATE_USED = "state_used"
    STATE_EXPIRED = "state_expired"
    STATE_FOREIGN = "state_foreign"
    ISSUER_MISMATCH = "issuer_mismatch"
    ACCESS_DENIED = "access_denied"
    SERVER_REFUSED = "server_refused"
    CODE_MISSING = "code_missing"
    TOKEN_REFUSED = "token_refused"  # noqa: S105 - a reason
    SERVER_UNAVAILABLE = "server_unavailable"
    SETTINGS_CHANGED = "settings_changed"


EXPLAINED = {
    Refusal.LINK_UNKNOWN: "This link is not one of ours.",
    Refusal.LINK_USED: "This link was used already; each works once.",
    Refusal.LINK_EXPIRED: "This link is too old; each works for 30 minutes.",
    Refusal.COOKIE_MISSING: "This browser did not begin here, or does not keep cookies.",
    Refusal.STATE_UNKNOWN: "This answer belongs to nothing that was begun here.",
    Refusal.STATE_USED: "This answer was given before; each counts once.",
    Refusal.STATE_EXPIRED: "This took longer than 10 minutes.",
    Refusal.STATE_FOREIGN: "This was begun in another browser.",
    Refusal.ISSUER_MISMATCH: "The answer came from another server than the one that was asked.",
    Refusal.ACCESS_DENIED: "The access was denied.",
    Refusal.SERVER_REFUSED: "The partner's server refused the request.",
    Refusal.CODE_MISSING: "The partner's server sent no code.",
    Refusal.TOKEN_REFUSED: "The partner's server did not take the code.",
    Refusal.SERVER_UNAVAILABLE: "The partner's server did not answer in a way that can be used.",
    Refusal.SETTINGS_CHANGED: "The partner's settings were changed in the meantime.",
}


def why_link_refused(known: OAuthLink | None, partner_id: UUID) -> Refusal:
    if known is None or known.partner_id != partner_id:
        return Refusal.LINK_UNKNOWN
    return Refusal.LINK_USED if known.used_at else Refusal.LINK_EXPIRED


def why_state_refused(known: OAuthState | None, browser_hash: bytes) -> Refusal:
    if known is None:
        return Refusal.STATE_UNKNOWN
    if known.browser_hash != browser_hash:
        return Refusal.STATE_FOREIGN
    return Refusal.STATE_USED if known.used_at else Refusal.STATE_EXPIRED


def sent_by_another(provider: OAuthProvider, issuer: str | None) -> bool:
    """RFC 9207. Without an issuer in the settings, it must be of the origin that the browser was sent to."""
    if issuer is None:
        return False
    if provider.issuer:
        return issuer != provider.issuer
    return origin_of(issuer) is None or origin_of(issuer) != origin_of(provider.authorize_url or "")


def origin_of(url: str) -> tuple[str, str, int | None] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None


def visitor(origin: Origin) -> Caller:
    """A browser with nothing but a link or a state in its hands."""
    grant = Grant(key_id="browser", partner_id=None, partner_status=None, scopes=(), limit_per_minute=0)
    return Caller(grant=grant, origin=origin)


def refused_fact(partner_id: UUID | None, refusal: Refusal) -> Fact:
    return Fact(
        event_type="connection.refused",
        message=f"A browser that would connect a partner was turned away: {EXPLAINED[refusal]}",
        target=str(partner_id or "unknown"),
        partner_id=partner_id,
        severity=Severity.WARNING,
        changes={"reason": refusal.value},
    )
