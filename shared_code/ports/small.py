"""Ports of one call."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

from shared_code.model import Health, Json

type Clock = Callable[[], datetime]
type Probe = Callable[[], Awaitable[Health]]
type SignatureCheck = Callable[[str, Mapping[str, str], bytes, datetime], str | None]
"""(secret, headers, raw body, now) → the message's id if the secret signed this, else None."""
type UrlRule = Callable[[str], None]
"""Raises UrlNotAllowed for a URL that PinkSync must never call."""
type SchemaCheck = Callable[[Json, object], Sequence[tuple[str, str]]]
"""(pointer, message) of each way in which a value breaks a JSON schema."""
