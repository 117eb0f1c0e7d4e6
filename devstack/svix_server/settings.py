"""What the environment may say. Svix takes whole seconds; here fractions too (facts/svix.md §2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

ENVIRONMENT = """environment:
  DEVSTACK_SVIX_JWT_SECRET        the secret that tokens are signed with (required)
  DEVSTACK_SVIX_RETRY             seconds before each retry (default 1,2,4,8,16,30,60; empty: no retry)
  DEVSTACK_SVIX_JITTER            0.2 spreads retries by 20 % either way, as Svix does (default 0)
  DEVSTACK_SVIX_TIMEOUT           seconds for one attempt, its answer's body included (default 15)
  DEVSTACK_SVIX_OVERLOAD_PENALTY  least wait after a timeout; Svix has 60 (default 0)
  DEVSTACK_SVIX_DISABLE_AFTER     seconds of failing before an endpoint is disabled (default 432000)
  DEVSTACK_SVIX_ALLOW_LOOPBACK    0 refuses to deliver to loopback addresses (default 1)
  DEVSTACK_SVIX_DELIVERY_CONTROL  1 obeys status 410 and the header webhook-delivery (default 0)
  DEVSTACK_SVIX_WHITELABEL        1 names the headers webhook-* instead of svix-* (default 0)"""


class SettingsError(Exception):
    """One line that names everything wrong with the environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    jwt_secret: str
    retry_schedule: tuple[float, ...] = (1, 2, 4, 8, 16, 30, 60)
    jitter: float = 0
    overload_penalty: float = 0
    disable_after: float = 432_000
    request_timeout: float = 15
    allow_loopback: bool = True
    delivery_control: bool = False
    whitelabel_headers: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        reader = _Reader(environment)
        settings = cls(
            jwt_secret=reader.required("JWT_SECRET"),
            retry_schedule=reader.value("RETRY", _schedule, (1, 2, 4, 8, 16, 30, 60)),
            jitter=reader.value("JITTER", _fraction, 0.0),
            overload_penalty=reader.value("OVERLOAD_PENALTY", _seconds, 0.0),
            disable_after=reader.value("DISABLE_AFTER", _seconds, 432_000.0),
            request_timeout=reader.value("TIMEOUT", _seconds, 15.0),
            allow_loopback=reader.value("ALLOW_LOOPBACK", _switch, True),
            delivery_control=reader.value("DELIVERY_CONTROL", _switch, False),
            whitelabel_headers=reader.value("WHITELABEL", _switch, False),
        )
        reader.refuse_problems()
        return settings


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._problems: list[str] = []

    def required(self, name: str) -> str:
        value = self._environment.get(f"DEVSTACK_SVIX_{name}", "")
        if not value:
            self._problems.append(f"set DEVSTACK_SVIX_{name} (any long random text)")
        return value

    def value[T](self, name: str, parse: Callable[[str], T], default: T) -> T:
        text = self._environment.get(f"DEVSTACK_SVIX_{name}")
        if text is None:
            return default
        try:
            return parse(text.strip())
        except ValueError as error:
            self._problems.append(f"DEVSTACK_SVIX_{name}={text!r} {error}")
            return default

    def refuse_problems(self) -> None:
        if self._problems:
            raise SettingsError("; ".join(self._problems))


def _schedule(text: str) -> tuple[float, ...]:
    return tuple(_seconds(part) for part in text.split(",") if part.strip())


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("is not a number of seconds") from None
    if not 0 <= seconds < 10**9:
        raise ValueError("is not a sensible number of seconds")
    return seconds


def _fraction(text: str) -> float:
    fraction = _seconds(text)
    if fraction >= 1:
        raise ValueError("must be below 1")
    return fraction


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"
