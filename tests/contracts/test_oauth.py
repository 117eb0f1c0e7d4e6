"""The tables of OAuth connections: links and states count once, tokens change hands under a version and a lease."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from shared_code import errors
from shared_code.model import (
    ClientAuth,
    ConnectionStatus,
    OAuthConnection,
    OAuthGrant,
    OAuthLink,
    OAuthProvider,
    OAuthState,
)
from shared_code.ports import Perishable, Store, Transaction
from tests.contracts.acting import apart, at_once, stored_partner, undone, within
from tests.contracts.samples import MINUTE, NOW, SECOND

LEASE = timedelta(seconds=20)


def new_provider(partner_id: UUID, **changes: object) -> OAuthProvider:
    provider = OAuthProvider(
        partner_id=partner_id,
        grant=OAuthGrant.AUTHORIZATION_CODE,
        authorize_url="https://shop.example/authorize",
        token_url="https://shop.example/token",
        revoke_url="https://shop.example/revoke",
        issuer="https://shop.example",
        client_id="pinksync",
        client_secret_encrypted="v1.k1.sealed",
        client_auth=ClientAuth.POST,
        scopes=("orders:read", "stock"),
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(provider, **changes)


def new_link(partner_id: UUID, name: bytes = b"link", **changes: object) -> OAuthLink:
    link = OAuthLink(
        link_hash=name, partner_id=partner_id, created_by="pk_live_x", created_at=NOW, expires_at=NOW + 30 * MINUTE
    )
    return replace(link, **changes)


def new_state(partner_id: UUID, name: bytes = b"state", **changes: object) -> OAuthState:
    state = OAuthState(
        state_hash=name,
        browser_hash=b"browser",
        partner_id=partner_id,
        verifier_encrypted="v1.k1.sealed",
        created_at=NOW,
        expires_at=NOW + 10 * MINUTE,
    )
    return replace(state, **changes)


def new_connection(partner_id: UUID, **changes: object) -> OAuthConnection:
    connection = OAuthConnection(
        partner_id=partner_id,
        status=ConnectionStatus.CONNECTED,
        access_token_encrypted="v1.k1.access",
        refresh_token_encrypted="v1.k1.refresh",
        scopes=("orders:read",),
        expires_at=NOW + 60 * MINUTE,
        refreshed_at=NOW,
    )
    return replace(connection, **changes)


async def kept(store: Store, connection: OAuthConnection) -> OAuthConnection:
    """Saved, and as it is known from then on."""
    assert await within(store, lambda transaction: transaction.connections.save(connection))
    return await found(store, connection.partner_id)


async def found(store: Store, partner_id: UUID) -> OAuthConnection:
    async with store.reading() as reading:
        connection = await reading.connections.get(partner_id)
    assert connection
    return connection


async def due(store: Store, now=NOW, idle_since=NOW, limit: int = 10) -> list[UUID]:
    return list(await within(store, lambda transaction: transaction.connections.due(now, idle_since, limit)))


# ── Settings ─────────────────────────────────────────────────────────────────────────────────────


async def test_settings_are_kept_whole_and_replaced(store: Store):
    partner = await stored_partner(store)
    first = new_provider(partner.partner_id)
    second = replace(
        first,
        grant=OAuthGrant.CLIENT_CREDENTIALS,
        authorize_url=None,
        revoke_url=None,
        issuer=None,
        client_auth=ClientAuth.BASIC,
        scopes=(),
        created_at=NOW + SECOND,
        updated_at=NOW + SECOND,
    )
    for provider, expected in ((first, first), (second, replace(second, created_at=NOW))):
        await within(store, lambda transaction, provider=provider: transaction.oauth_providers.put(provider))
        async with store.reading() as reading:
            assert await reading.oauth_providers.get(partner.partner_id) == expected
            assert await reading.oauth_providers.get(uuid4()) is None


type Adding = Callable[[Transaction, UUID], Awaitable[object]]


@pytest.mark.parametrize(
    "add",
    [
        lambda transaction, whose: transaction.oauth_providers.put(new_provider(whose)),
        lambda transaction, whose: transaction.oauth_links.add(new_link(whose)),
        lambda transaction, whose: transaction.oauth_states.add(new_state(whose)),
        lambda transaction, whose: transaction.connections.save(new_connection(whose)),
    ],
    ids=["settings", "link", "state", "connection"],
)
async def test_what_is_nobodys_is_refused(store: Store, add: Adding):
    with pytest.raises(errors.NotFound):
        await within(store, lambda transaction: add(transaction, uuid4()))


# ── Links and states ─────────────────────────────────────────────────────────────────────────────


async def test_a_link_is_used_once_in_time_for_its_partner(store: Store):
    partner = await stored_partner(store)
    link, whose = new_link(partner.partner_id), partner.partner_id
    await within(store, lambda transaction: transaction.oauth_links.add(link))

    async def use(name=b"link", who=whose, now=NOW + SECOND) -> OAuthLink | None:
        return await within(store, lambda transaction: transaction.oauth_links.use(name, who, now))

    assert await use(name=b"other") is None
    assert await use(who=uuid4()) is None
    assert await use(now=link.expires_at) is None
    async with undone(store) as transaction:
        assert await transaction.oauth_links.use(b"link", whose, NOW)
    used = replace(link, used_at=NOW + SECOND)
    assert await use() == used
    assert await use() is None
    async with store.reading() as reading:
        assert await reading.oauth_links.get(b"link") == used
        assert await reading.oauth_links.get(b"other") is None


async def test_a_state_is_used_once_in_time_by_its_browser(store: Store):
    partner = await stored_partner(store)
    state = new_state(partner.partner_id)
    await within(store, lambda transaction: transaction.oauth_states.add(state))

    async def use(name=b"state", browser=b"browser", now=NOW + SECOND) -> OAuthState | None:
        return await within(store, lambda transaction: transaction.oauth_states.use(name, browser, now))

    assert await use(name=b"other") is None
    assert await use(browser=b"other") is None
    assert await use(now=state.expires_at) is None
    used = replace(state, used_at=NOW + SECOND)
    assert await use() == used
    assert await use() is None
    async with store.reading() as reading:
        assert await reading.oauth_states.get(b"state") == used


async def test_of_a_thousand_who_use_one_state_one_has_it(store: Store):
    partner = await stored_partner(store)
    await within(store, lambda transaction: transaction.oauth_states.add(new_state(partner.partner_id)))
    turns = asyncio.Semaphore(100)  # as many as wait for a connection of the pool at most

    async def use() -> OAuthState | None:
        async with turns:
            return await within(store, lambda other: other.oauth_states.use(b"state", b"browser", NOW))

    uses = await asyncio.gather(*(apart(use()) for _ in range(1000)))
    assert sum(state is not None for state in uses) == 1


async def test_passes_of_a_partner_are_voided_and_old_ones_deleted(store: Store):
    partner, other = await stored_partner(store), await stored_partner(store)
    async with store.transaction() as transaction:
        for index, each in enumerate((partner, other)):
            for age in range(3):
                name = bytes([index, age])
                ends = NOW + age * MINUTE
                await transaction.oauth_links.add(new_link(each.partner_id, name, expires_at=ends))
                await transaction.oauth_states.add(new_state(each.partner_id, name, expires_at=ends))
    async with store.transaction() as transaction:
        for table in (transaction.oauth_links, transaction.oauth_states):
            await table.void(partner.partner_id)
            assert await table.get(bytes([0, 0])) is None
        for what in (Perishable.OAUTH_LINKS, Perishable.OAUTH_STATES):
            assert await transaction.retention.clear(what, NOW + 2 * MINUTE, 1) == 1
            assert await transaction.retention.clear(what, NOW + 2 * MINUTE, 9) == 1
            assert await transaction.retention.clear(what, NOW + 2 * MINUTE, 9) == 0
    async with store.reading() as reading:
        for table in (reading.oauth_links, reading.oauth_states):
            assert [await table.get(bytes([1, age])) is None for age in range(3)] == [True, True, False]


async def test_the_client_of_a_removed_partner_leaves_when_no_token_is_to_be_revoked(store: Store):
    revoked, owed = [await stored_partner(store, deleted_at=NOW) for _ in range(2)]
    living = await stored_partner(store)
    ids = [each.partner_id for each in (revoked, owed, living)]
    async with store.transaction() as transaction:
        for partner_id in ids:
            await transaction.oauth_providers.put(new_provider(partner_id))
        await transaction.connections.save(new_connection(owed.partner_id, refresh_token_encrypted=None))
        ended = new_connection(revoked.partner_id, access_token_encrypted=None, refresh_token_encrypted=None)
        await transaction.connections.save(ended)
        assert await transaction.retention.clear(Perishable.OAUTH_PROVIDERS, NOW, 9) == 0
        assert await transaction.retention.clear(Perishable.OAUTH_PROVIDERS, NOW + SECOND, 9) == 1
    async with store.reading() as reading:
        assert [await reading.oauth_providers.get(partner_id) is None for partner_id in ids] == [True, False, False]


# ── Connections ──────────────────────────────────────────────────────────────────────────────────


async def test_a_connection_is_kept_whole_and_changed_only_from_its_present_version(store: Store):
    partner = await stored_partner(store)
    first = await kept(store, new_connection(partner.partner_id))
    assert first == new_connection(partner.partner_id, version=1)
    changed = replace(
        first,
        status=ConnectionStatus.NEEDS_REAUTH,
        access_token_encrypted=None,
        refresh_token_encrypted=None,
        scopes=(),
        expires_at=None,
        rejected_at=NOW,
        failures=3,
        not_before=NOW + SECOND,
        lease_until=NOW + SECOND,
        ended_at=NOW,
    )
    assert await kept(store, changed) == replace(changed, version=2)
    for old in (first, changed, new_connection(partner.partner_id)):
        assert not await within(store, lambda transaction, old=old: transaction.connections.save(old))
    assert await found(store, partner.partner_id) == replace(changed, version=2)


async def test_of_twenty_who_change_one_version_one_does(store: Store):
    partner = await stored_partner(store)
    for turn in range(3):
        one = new_connection(partner.partner_id, version=turn)
        saved = await at_once(store, 20, lambda transaction, one=one: transaction.connections.save(one))
        assert sum(saved) == 1


async def test_of_twenty_who_claim_it_one_has_it_until_the_lease_ends_or_it_changes(store: Store):
    partner = await stored_partner(store)
    whose = (await kept(store, new_connection(partner.partner_id))).partner_id

    async def claim(version: int, now) -> OAuthConnection | None:
        return await within(store, lambda other: other.connections.claim(whose, version, now, now + LEASE))

    claims = await at_once(store, 20, lambda other: other.connections.claim(whose, 1, NOW, NOW + LEASE))
    (claimed,) = [each for each in claims if each]
    assert claimed == new_connection(whose, version=1, lease_until=NOW + LEASE)
    assert await claim(1, NOW + LEASE - SECOND) is None
    assert await claim(0, NOW + LEASE) is None
    assert await claim(1, NOW + LEASE)
    renewed = await kept(store, replace(claimed, access_token_encrypted="v1.k1.new", lease_until=None))
    assert await claim(1, NOW + 9 * LEASE) is None
    assert await claim(renewed.version, NOW)
    assert await within(store, lambda other: other.connections.claim(uuid4(), 1, NOW, NOW)) is None


async def test_one_that_is_calmed_need_not_rest_and_keeps_its_version_and_lease(store: Store):
    partner = await stored_partner(store)
    tried = new_connection(partner.partner_id, failures=3, not_before=NOW + MINUTE, lease_until=NOW + SECOND)
    before = await kept(store, tried)
    for whose in (partner.partner_id, uuid4()):
        await within(store, lambda transaction, whose=whose: transaction.connections.calm(whose))
    assert await found(store, partner.partner_id) == replace(before, failures=0, not_before=None)


async def test_due_are_the_idle_and_those_to_be_revoked_the_longest_untouched_first(store: Store):
    async def one(**changes: object) -> UUID:
        partner = await stored_partner(store)
        return (await kept(store, new_connection(partner.partner_id, **changes))).partner_id

    idle = await one(refreshed_at=NOW - 2 * MINUTE)
    ended = await one(refreshed_at=NOW - 3 * MINUTE, status=ConnectionStatus.DISCONNECTED)
    half = await one(status=ConnectionStatus.DISCONNECTED, refresh_token_encrypted=None, refreshed_at=NOW - MINUTE)
    await one(refreshed_at=NOW)
    await one(refreshed_at=NOW - MINUTE, refresh_token_encrypted=None)
    await one(refreshed_at=NOW - MINUTE, status=ConnectionStatus.NEEDS_REAUTH)
    await one(refreshed_at=NOW - MINUTE, lease_until=NOW + SECOND)
    await one(refreshed_at=NOW - MINUTE, not_before=NOW + SECOND)
    gone = {"access_token_encrypted": None, "refresh_token_encrypted": None}
    await one(status=ConnectionStatus.DISCONNECTED, **gone)
    assert await due(store) == [ended, idle, half]
    assert await due(store, limit=1) == [ended]
    assert len(await due(store, now=NOW + SECOND)) == 5
