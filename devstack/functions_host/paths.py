"""Paths as Kestrel reads and writes them: percent-decoded, except that an encoded slash stays as it is."""

import re
from urllib.parse import quote, unquote

_ENCODED_SLASH = re.compile("(%2f)", re.IGNORECASE)
_BARE = "/!$&'()*+,;=:@-._~"


def decoded(raw_path: bytes) -> str:
    """Without the leading slash, as route templates are."""
    text = raw_path.decode("latin-1")[1:]
    if "%" not in text:
        return text
    return "".join(part if part.lower() == "%2f" else unquote(part) for part in _ENCODED_SLASH.split(text))


def encoded(path: str) -> str:
    """The other way, for the URL that Python is told."""
    return "".join(part if part.lower() == "%2f" else quote(part, safe=_BARE) for part in _ENCODED_SLASH.split(path))
