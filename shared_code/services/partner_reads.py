"""Reads of a partner's API that the gateway makes for itself: with the partner's credentials, behind its circuit."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from shared_code import errors
from shared_code.model import ErrorClass, Partner
from shared_code.ports import Circuit, Forward, Get, PartnerApi, Returned, SyncFailed
from shared_code.services.credentials import Injection, PartnerCredentials
from shared_code.services.partner_calls import guarded


@dataclass(frozen=True, slots=True)
class PartnerReads:
    api: PartnerApi
    credentials: PartnerCredentials
    circuit: Circuit

    def of(self, partner: Partner, request_id: str) -> Get:
        """A token that the partner takes no longer is renewed once, as it is for the proxy."""

        async def get(request: Forward) -> Returned:
            async def send(injection: Injection) -> Returned:
                query = "&".join(part for part in (request.query, injection.query) if part)
                own = {"User-Agent": "PinkSync/1", "X-Request-Id": request_id}
                headers = {**request.headers, **own, **injection.headers}
                return await guarded(self.api, self.circuit, partner, replace(request, query=query, headers=headers))

            with no_credentials_is_auth():
                return await self.credentials.call(partner, send)

        return get

    async def hidden(self, partner: Partner) -> frozenset[str]:
        """Names of the query parameters that every request carries."""
        with no_credentials_is_auth():
            injection = await self.credentials.injection(partner)
        own = urlsplit(partner.api_endpoint or "").query
        return frozenset(name for name, _ in parse_qsl(f"{injection.query}&{own}", keep_blank_values=True))


@contextmanager
def no_credentials_is_auth() -> Generator[None]:
    """A partner that is not connected, or whose grant has ended, cannot be read until somebody acts."""
    try:
        yield
    except errors.Conflict as conflict:
        raise SyncFailed(ErrorClass.AUTH, conflict.message) from conflict
