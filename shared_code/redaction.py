"""Secrets taken out of text: of log records, here, and of whatever else leaves this process in words.

Two nets. Forms: what looks like a secret wherever it comes from (keys of ours, bearer tokens, JWTs, headers,
parameters of URLs, passwords in connection strings). Values: the very secrets this process was given, whatever
they look like. What an operator needs to find a key again stays: `pk_live_<id>`, the name of a parameter.
"""

import logging
import re
import traceback
from collections.abc import Iterable, Mapping
from urllib.parse import quote

MASK = "***"
SHORTEST_VALUE = 8
"""A shorter secret would blank out ordinary words."""

PARAMETERS = "link|state|code|code_verifier|token|key|sig|signature|secret|session"
NAMES = (
    r"(?:proxy-)?authorization|(?:set-)?cookie|x-identity-header|(?:x[-_])?api[-_]?key|account[-_]?key"
    r"|shared[-_]?access[-_]?(?:key|signature)|(?:access|refresh|id|auth|bearer)[-_]?token|client[-_]?secret"
    r"|client[-_]?assertion|code[-_]?verifier|private[-_]?key|password|passwd|pwd|secret"
)
FORMS = re.compile(
    r"(?P<our_key>pk_(?:live|test)_[0-9A-Za-z]{12})_[0-9A-Za-z]+"
    r"|(?P<signing>whsec_)[A-Za-z0-9+/=_-]+"
    r"|(?P<service>\b(?:test)?sk_)[A-Za-z0-9._-]{8,}"
    r"|(?P<jwt>\beyJ)[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*"
    r"|(?P<userinfo>\b[a-z][a-z0-9+.-]{1,20}://[^\s/@:?#'\"]*:)[^\s/@'\"]+(?=@)"
    r"|(?P<reference>@Microsoft\.KeyVault\()[^)\s]*"
    rf"|(?P<parameter>[?&](?:{PARAMETERS}|[a-z_]*(?:token|secret|api_?key|password))=)[^&\s\"'#]+"
    rf"|(?P<named>(?<![a-z0-9])(?:{NAMES})(?:\\?[\"']?\s*[:=]\s*|\\?[\"'],\s*)(?:b?\\?[\"'])?(?:(?:bearer|basic)\s+)?)"
    r"[^\s\"'\\,;&)}\]]+"
    r"|(?P<scheme>\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}"
    r"|(?P<basic>\bbasic\s+)[A-Za-z0-9+/=]{16,}",
    re.IGNORECASE | re.ASCII,
)
HINTS = (
    *("pk_", "whsec_", "sk_", "eyj", "://", "@microsoft.", "?", "&", "authorization", "cookie", "x-identity-header"),
    *("key", "token", "secret", "signature", "assertion", "verifier", "passw", "pwd", "bearer", "basic"),
)
"""Without one of these a text has none of the forms; it is fifty times quicker to see that first."""


_known: list[str] = []
"""The secrets of this process, the longest first. Kept for good: a secret that was replaced is one still."""


def remember(secrets: Iterable[str]) -> None:
    """From now on these values are taken out wherever they stand. Those under eight characters are left."""
    spellings = {spelling for secret in secrets for spelling in (secret, quote(secret, safe=""))}
    long_enough = {*_known, *(spelling for spelling in spellings if len(spelling) >= SHORTEST_VALUE)}
    _known[:] = sorted(long_enough, key=len, reverse=True)


def redact(text: str) -> str:
    """The text without its secrets. Redacting it again changes nothing."""
    for secret in _known:
        if secret in text:
            text = text.replace(secret, MASK)
    lower = text.lower()
    return FORMS.sub(kept, text) if any(hint in lower for hint in HINTS) else text


def kept(found: re.Match[str]) -> str:
    """What tells the kind of the secret stays, and the secret itself goes."""
    before = found[found.lastgroup or 0]
    return f"{before}_{MASK}" if found.lastgroup == "our_key" else f"{before}{MASK}"


def redact_mapping[V](attributes: Mapping[str, V]) -> dict[str, V | str]:
    """The same for named values, such as those of a span: a name that tells of a secret hides the whole value."""
    return {name: redacted_value(name, value) for name, value in attributes.items()}


SECRET_NAME = re.compile(rf"(?:^|[._-])(?:{NAMES})$", re.IGNORECASE)


def redacted_value[V](name: str, value: V) -> V | str:
    if not isinstance(value, str):
        return value
    return MASK if SECRET_NAME.search(name) else redact(value)


class RedactingFilter(logging.Filter):
    """Takes the secrets out of a record before a handler sees it. Lets every record pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        redact_record(record)
        return True


def redact_record(record: logging.LogRecord) -> None:
    """Message, exception and the fields of `extra`. A line break in a message could forge a line: it is escaped."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # its own fault: the handler says so
        return
    clean = redact(message).replace("\r", "\\r").replace("\n", "\\n")
    if clean != message:
        record.msg, record.args = clean, None
    if record.exc_info and not record.exc_text:
        record.exc_text = redact("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
    for name in record.__dict__.keys() - STANDARD:
        record.__dict__[name] = redacted_value(name, record.__dict__[name])


STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
_filter = RedactingFilter()


CHATTY = ("httpx", "httpcore", "azure.core", "azure.identity", "azure.data", "azure.keyvault", "msal", "svix")
"""They tell of every call at INFO, with its URL."""


def install() -> None:
    """Every record that a logger makes from now on is clean, whichever handler it goes to; and on the handlers
    that are there, so is what `extra` adds to a record. Safe to repeat, and to be repeated after adding a handler.
    """
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    made = logging.getLogRecordFactory()
    if not getattr(made, "redacts", False):

        def factory(*args: object, **kwargs: object) -> logging.LogRecord:
            record = made(*args, **kwargs)
            redact_record(record)
            return record

        factory.redacts = True  # pyright: ignore[reportFunctionMemberAccess]
        logging.setLogRecordFactory(factory)
    loggers = [logging.getLogger(), *(each for each in logging.Logger.manager.loggerDict.values())]
    handlers = {handler for each in loggers if isinstance(each, logging.Logger) for handler in each.handlers}
    for handler in {*handlers, logging.lastResort} - {None}:
        if _filter not in handler.filters:  # pyright: ignore[reportOptionalMemberAccess]
            handler.addFilter(_filter)  # pyright: ignore[reportOptionalMemberAccess]
