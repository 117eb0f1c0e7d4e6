"""Calls to a partner's own API, behind one circuit per partner: one that fails is left alone, whoever calls it."""

from shared_code import errors
from shared_code.model import Partner
from shared_code.ports import Circuit, Forward, PartnerApi, Returned


async def guarded(api: PartnerApi, circuit: Circuit, partner: Partner, request: Forward) -> Returned:
    """Whatever it answers. Raises CircuitOpen, or Conflict for a partner that has no API."""
    if not partner.api_endpoint:
        raise errors.Conflict("The partner has no api_endpoint to call.")
    name = f"partner:{partner.partner_id}"
    if not await circuit.closed(name):
        raise errors.CircuitOpen(headers={"Retry-After": "5"})
    try:
        returned = await api.call(partner.api_endpoint, request)
    except (errors.UpstreamTimeout, errors.UpstreamUnreachable):
        await circuit.report(name, ok=False)
        raise
    await circuit.report(name, ok=True)
    return returned
