"""Reads of a partner's API that the gateway makes for itself: with the partner's credentials, behind its circuit."""

from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

from shared_code import errors
from shared_code.model import ErrorClass, Partner
from shared_code.ports import Circuit, Forward, Get, PartnerApi, Returned, SyncFailed
from shared_code.services.credentials import Injection, PartnerCredentials


@dataclass(frozen=True, slots=True)
class PartnerReads:
    api: PartnerApi
    credentials: PartnerCredentials
    circuit: Circuit

    def of(self, partner: Partner, request_id: str) -> Get:
        async def get(request: Forward) -> Returned:
            injection = await self._injection(partner)
            query = "&".join(part for part in (request.query, injection.query) if part)
            headers = {**request.headers, "User-Agent": "PinkSync/1", "X-Request-Id": request_id, **injection.headers}
            return await self._guarded(partner, replace(request, query=query, headers=headers))

        return get

    async def hidden(self, partner: Partner) -> frozenset[str]:
        """Names of the query parameters that every request carries."""
        injection, own = await self._injection(partner), urlsplit(partner.api_endpoint or "").query
        return frozenset(name for name, _ in parse_qsl(f"{injection.query}&{own}", keep_blank_values=True))

    async def _injection(self, partner: Partner) -> Injection:
        try:
            return await self.credentials.injection(partner)
        except errors.Conflict as conflict:
            raise SyncFailed(ErrorClass.AUTH, conflict.message) from conflict

    async def _guarded(self, partner: Partner, request: Forward) -> Returned:
        """The proxy's own circuit: a partner that fails is left alone by both."""
        if not partner.api_endpoint:
            raise errors.Conflict("The partner has no api_endpoint to read from.")
        name = f"partner:{partner.partner_id}"
        if not await self.circuit.closed(name):
            raise errors.CircuitOpen()
        try:
            returned = await self.api.call(partner.api_endpoint, request)
        except (errors.UpstreamTimeout, errors.UpstreamUnreachable):
            await self.circuit.report(name, ok=False)
            raise
        await self.circuit.report(name, ok=True)
        return returned
