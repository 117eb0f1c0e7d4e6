"""ports.SealedValues: each field by its key, held while it is moved, and nothing else of a row changed."""

from datetime import UTC, datetime, timedelta

from shared_code.adapters.memory_store import MemoryStore
from shared_code.adapters.postgres_sealed import SEALED
from shared_code.model import InboundSecret, Partner, SealedUnder, SealedValue, StoredReply
from shared_code.ports import Store
from tests.contracts.acting import apart, stored_partner, within
from tests.contracts.samples import NOW, new_endpoint
from tests.contracts.test_oauth import new_connection, new_provider, new_state

PARTNERS = "partners.credentials"
OLD, NEW = SealedUnder(field=PARTNERS, kid="k1"), SealedUnder(field=PARTNERS, kid="k2")


async def hold(store: Store, under: SealedUnder = OLD, after: str | None = None, limit: int = 10) -> list[SealedValue]:
    return list(await within(store, lambda transaction: transaction.sealed.hold(under, after, limit)))


async def counts(store: Store) -> dict[SealedUnder, int]:
    return dict(await within(store, lambda transaction: transaction.sealed.counts()))


async def partners(store: Store, *texts: str | None) -> list[Partner]:
    return [await stored_partner(store, credentials_encrypted=text) for text in texts]


async def one_of_each(store: Store) -> Partner:
    """A value in every sealed field there is."""
    partner = await stored_partner(store, credentials_encrypted="v1.k1.credentials")
    inbound = InboundSecret(partner_id=partner.partner_id, secret_encrypted="v1.k1.inbound", created_at=NOW)
    reply = StoredReply(fingerprint=b"f", status=201, headers={"A": "b"}, body_encrypted="v1.k1.reply")
    async with store.transaction() as transaction:
        await transaction.endpoints.add(new_endpoint(partner.partner_id, secret_encrypted="v1.k1.endpoint"))
        await transaction.inbound_secrets.add(inbound)
        await transaction.oauth_providers.put(new_provider(partner.partner_id))
        await transaction.oauth_states.add(new_state(partner.partner_id))
        await transaction.connections.save(new_connection(partner.partner_id))
        until = datetime.now(UTC) + timedelta(hours=1)
        await transaction.replies.keep("some tenant", "POST /x", "key", reply, until)
    return partner


async def test_every_field_is_found_with_its_owner_and_can_be_changed(store: Store) -> None:
    partner = await one_of_each(store)
    for field in SEALED:
        under = SealedUnder(field=field, kid="k1")
        (value,) = await hold(store, under)
        owner = "some tenant" if field == "idempotency_replies.body" else str(partner.partner_id)
        assert (value.owner, value.text.startswith("v1.k1.")) == (owner, True)
        async with store.transaction() as transaction:
            held = await transaction.sealed.hold(under, None, 10)
            assert await transaction.sealed.put(field, [(held[0], f"v1.k2.{field}")]) == 1
        assert await hold(store, under) == []
    assert await counts(store) == {SealedUnder(field=field, kid="k2"): 1 for field in SEALED}


async def test_nothing_else_of_the_row_changes(store: Store) -> None:
    partner = await one_of_each(store)
    async with store.transaction() as transaction:
        held = await transaction.sealed.hold(OLD, None, 10)
        await transaction.sealed.put(PARTNERS, [(held[0], "v1.k2.moved")])
    async with store.reading() as reading:
        found = await reading.partners.get(partner.partner_id)
    assert found
    assert found.credentials_encrypted == "v1.k2.moved"
    assert (found.updated_at, found.metadata, found.status) == (partner.updated_at, partner.metadata, partner.status)


async def test_counts_and_kids_tell_what_each_key_seals(store: Store) -> None:
    await partners(store, "v1.k1.a", "v1.k1.b", "v1.k2.c", None)
    assert await counts(store) == {OLD: 2, NEW: 1}
    assert set(await within(store, lambda transaction: transaction.sealed.kids())) == {OLD, NEW}


async def test_a_batch_goes_on_after_the_last_place(store: Store) -> None:
    await partners(store, *[f"v1.k1.{number}" for number in range(5)], "v1.k2.x")
    first = await hold(store, limit=2)
    second = await hold(store, after=first[-1].place, limit=2)
    third = await hold(store, after=second[-1].place, limit=2)
    assert sorted(value.text for value in first + second + third) == [f"v1.k1.{number}" for number in range(5)]
    assert await hold(store, after=third[-1].place) == []


async def test_what_another_transaction_holds_is_left_out(store: Store) -> None:
    mine, other = await partners(store, "v1.k1.mine", "v1.k1.other")
    async with store.transaction() as transaction:
        await transaction.partners.get(other.partner_id, lock=True)
        held = await apart(hold(store))
    assert [value.owner for value in held] == [str(mine.partner_id)]
    assert len(await hold(store)) == 2


async def test_a_value_that_is_no_longer_what_it_was_is_left_alone(store: Store) -> None:
    (partner,) = await partners(store, "v1.k1.old")
    async with store.transaction() as transaction:
        (held,) = await transaction.sealed.hold(OLD, None, 10)
        stale = SealedValue(place=held.place, owner=held.owner, text="v1.k1.older still")
        assert await transaction.sealed.put(PARTNERS, [(stale, "v1.k2.lost")]) == 0
    async with store.reading() as reading:
        found = await reading.partners.get(partner.partner_id)
    assert found
    assert found.credentials_encrypted == "v1.k1.old"


async def test_an_empty_store_seals_nothing(store: Store) -> None:
    assert await counts(store) == {}
    assert await hold(store) == []


async def test_both_adapters_know_the_same_fields() -> None:
    store = MemoryStore()
    await one_of_each(store)
    assert {under.field for under in await counts(store)} == set(SEALED)
