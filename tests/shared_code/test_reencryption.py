"""Rotation of the key ring: what is stored moves to the newest key, and the old one may go only then."""

import os
from uuid import UUID, uuid4

import pytest

from shared_code import errors
from shared_code.adapters.aesgcm_cipher import AesGcmCipher
from shared_code.adapters.memory_store import MemoryStore, utc_now
from shared_code.model import Health, Page, SealedUnder
from shared_code.ports import AuditFilter
from shared_code.services import reencryption
from shared_code.services.reencryption import Reencryption
from tests.contracts.acting import stored_partner

FIELD = "partners.credentials"
KEYS = {kid: os.urandom(32) for kid in ("k1", "k2", "k3")}
OLD, NEW = SealedUnder(field=FIELD, kid="k1"), SealedUnder(field=FIELD, kid="k2")


def ring(*kids: str) -> AesGcmCipher:
    return AesGcmCipher({kid: KEYS[kid] for kid in kids})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def rotation(store: MemoryStore, *kids: str) -> Reencryption:
    return Reencryption(store, ring(*kids), utc_now)


async def partners(store: MemoryStore, cipher: AesGcmCipher, count: int) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    for each in ids:
        await stored_partner(store, partner_id=each, credentials_encrypted=cipher.seal(each.bytes, str(each), FIELD))
    return ids


async def opened(store: MemoryStore, cipher: AesGcmCipher, partner_id: UUID) -> bytes:
    async with store.reading() as reading:
        partner = await reading.partners.get(partner_id)
    assert partner
    assert partner.credentials_encrypted
    return cipher.open(partner.credentials_encrypted, str(partner_id), FIELD)


async def test_everything_moves_in_batches_and_opens_as_before(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "BATCH", 3)
    ids = await partners(store, ring("k1"), 10)
    rotated = rotation(store, "k2", "k1")
    assert await rotated.counts() == {OLD: 10}
    assert await rotated.run() == 10
    assert await rotated.counts() == {NEW: 10}
    assert [await opened(store, ring("k2"), each) for each in ids] == [each.bytes for each in ids]


async def test_a_run_with_nothing_to_move_writes_nothing(store: MemoryStore) -> None:
    await partners(store, ring("k1"), 2)
    assert await rotation(store, "k1").run() == 0
    async with store.reading() as reading:
        assert (await reading.audit.list(AuditFilter(), Page())).total == 0


async def test_what_was_moved_stands_in_the_audit_trail_once(store: MemoryStore) -> None:
    await partners(store, ring("k1"), 2)
    await rotation(store, "k2", "k1").run()
    async with store.reading() as reading:
        (row,) = (await reading.audit.list(AuditFilter(), Page())).items
    assert (row.event_type, row.target, row.actor) == ("keyring.reencrypted", "k2", "system:reencrypt")
    assert "2 stored secrets" in row.message


async def test_a_run_ends_after_its_share_and_the_next_goes_on(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "BATCH", 2)
    monkeypatch.setattr(reencryption, "MOST_BATCHES", 2)
    await partners(store, ring("k1"), 5)
    rotated = rotation(store, "k2", "k1")
    assert (await rotated.run(), await rotated.run(), await rotated.run()) == (4, 1, 0)


async def test_a_value_that_does_not_open_stays_and_stops_nobody(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved to another partner's row by hand, it must not be made to fit there by the rotation."""
    monkeypatch.setattr(reencryption, "BATCH", 1)
    (victim,) = await partners(store, ring("k1"), 1)
    stolen = ring("k1").seal(b"another's", str(uuid4()), FIELD)
    await stored_partner(store, credentials_encrypted=stolen)
    (last,) = await partners(store, ring("k1"), 1)
    rotated = rotation(store, "k2", "k1")
    assert await rotated.run() == 2
    assert await rotated.counts() == {OLD: 1, NEW: 2}
    assert [await opened(store, ring("k2"), each) for each in (victim, last)] == [victim.bytes, last.bytes]
    assert await rotated.run() == 0


async def test_three_keys_empty_into_the_newest(store: MemoryStore) -> None:
    await partners(store, ring("k1"), 2)
    await partners(store, ring("k2"), 2)
    rotated = rotation(store, "k3", "k2", "k1")
    assert await rotated.run() == 4
    assert await rotated.counts() == {SealedUnder(field=FIELD, kid="k3"): 4}


async def test_a_key_that_was_dropped_too_early_is_told_of(store: MemoryStore) -> None:
    ids = await partners(store, ring("k1"), 1)
    assert await rotation(store, "k2", "k1").health() is Health.OK
    early = rotation(store, "k2")
    assert await early.health() is Health.DEGRADED
    assert await early.run() == 0
    with pytest.raises(errors.PinkSyncError):
        await opened(store, ring("k2"), ids[0])
    await rotation(store, "k2", "k1").run()
    assert await early.health() is Health.OK
