"""ports.AuditArchive on memory and on Azurite; what the archiver, the reader and the verifier make of it."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings

from shared_code import errors
from shared_code.adapters.memory_audit_archive import MemoryAuditArchive
from shared_code.adapters.memory_store import MemoryStore
from shared_code.adapters.tables_audit_rows import stored, to_entity
from shared_code.model import AuditEntry, AuditLink, AuditRow, ChainHead, Page, Severity
from shared_code.model.archive import GENESIS, linked, new_head, row_name
from shared_code.ports import AuditArchive, AuditFilter
from shared_code.services import audit_archive
from shared_code.services.audit_archive import AuditArchiver
from shared_code.services.audit_reading import AuditService
from shared_code.services.audit_verify import AuditVerifier, Verdict
from tests.contracts.acting import by_cursor, by_offset, nothing
from tests.contracts.archives import Archive, memory_archive, tables_archive
from tests.contracts.samples import JSON_OBJECTS, NOW, SECOND, new_entry
from tests.shared_servers import ask

DAY = timedelta(days=1)
LATER = NOW + 365 * DAY
PARTNER = UUID(int=7)


@pytest.fixture(params=["memory", "tables"])
async def archive(request: pytest.FixtureRequest) -> AsyncIterator[Archive]:
    made = memory_archive() if request.param == "memory" else tables_archive(ask("azurite").url)
    yield made
    await made.port.close()


def entries(count: int, **changes: object) -> list[AuditEntry]:
    """One a second, oldest first."""
    return [new_entry(partner_id=PARTNER, created_at=NOW + index * SECOND, **changes) for index in range(count)]


def chain_of(found: Sequence[AuditEntry], head: ChainHead | None = None, first: int = 1) -> Sequence[AuditLink]:
    return linked([AuditRow(number=first + index, entry=entry) for index, entry in enumerate(found)], head)


async def holding(*found: AuditEntry) -> MemoryStore:
    store = MemoryStore()
    async with store.transaction() as transaction:
        for entry in found:
            await transaction.audit.add(entry)
    return store


def archiver(store: MemoryStore, archive: AuditArchive | None, hot: timedelta = timedelta()) -> AuditArchiver:
    return AuditArchiver(store, archive, lambda: LATER, hot)


# ── The chain ────────────────────────────────────────────────────────────────────────────────────


def test_each_link_has_the_hash_and_the_name_of_the_one_before_it():
    one, two, three = chain_of(entries(3))
    assert (one.sequence, one.previous_hash, one.previous_row) == (1, GENESIS, "")
    assert (two.sequence, two.previous_hash, two.previous_row) == (2, one.hash, one.row.name)
    assert (three.previous_hash, three.previous_row) == (two.hash, two.row.name)


def test_a_chain_made_in_parts_is_the_chain_made_at_once():
    whole = entries(6)
    first = chain_of(whole[:2])
    second = chain_of(whole[2:], new_head(None, first), first=3)
    assert [*first, *second] == list(chain_of(whole))
    assert new_head(new_head(None, first), second) == new_head(None, chain_of(whole))


@pytest.mark.parametrize("change", [{"message": "x"}, {"metadata": {}}, {"created_at": NOW}, {"ip_address": None}])
def test_every_field_is_in_the_hash(change: dict[str, object]):
    (link,) = chain_of([new_entry(created_at=NOW + SECOND)])
    changed = replace(link, row=replace(link.row, entry=replace(link.row.entry, **change)))
    assert changed.hash != link.hash


def test_row_names_sort_newest_first():
    places = [(NOW + timedelta(microseconds=m), n) for m in (0, 1, 10**12) for n in (1, 2, 2**63 - 1)]
    random.Random(7).shuffle(places)
    assert sorted(places, key=lambda place: row_name(*place)) == sorted(places, reverse=True)


@settings(max_examples=60, deadline=None)
@given(metadata=JSON_OBJECTS)
def test_any_metadata_comes_back_from_an_entity_as_it_was(metadata: dict[str, object]):
    (link,) = chain_of([new_entry(metadata=metadata)])
    read = stored(as_read(to_entity(link)))
    assert (read.link, read.hash) == (link, link.hash)


def as_read(entity):
    from azure.data.tables import EntityProperty

    return {name: EntityProperty(*value) if isinstance(value, tuple) else value for name, value in entity.items()}


# ── The port ─────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_put_is_read_back_newest_first(archive: Archive):
    bare = new_entry(partner_id=PARTNER, request_id=None, ip_address=None, user_agent=None, metadata={}, created_at=NOW)
    long = new_entry(partner_id=PARTNER, metadata={"text": "€" * 400_000}, created_at=NOW + SECOND)
    noise = random.Random(7).randbytes(200_000).hex()
    packed = new_entry(partner_id=PARTNER, metadata={"noise": noise}, created_at=NOW + 2 * SECOND)
    links = chain_of([bare, long, packed])
    await archive.port.put(links)
    assert await archive.port.read(new_head(None, links), AuditFilter(), None, 10) == list(reversed(links))
    assert [found.link async for found in archive.port.all()] == list(reversed(links))


async def test_any_number_of_links_is_put_and_putting_them_again_changes_nothing(archive: Archive):
    links = chain_of(entries(230))
    await archive.port.put(links)
    once = [found async for found in archive.port.all()]
    await archive.port.put(links)
    assert [found async for found in archive.port.all()] == once
    assert len(once) == 230


async def test_a_chain_is_read_up_to_its_head_after_a_position_and_to_a_limit(archive: Archive):
    links = chain_of(entries(10))
    await archive.port.put(links)
    head = new_head(None, links[:8])
    assert await archive.port.read(head, AuditFilter(), None, 3) == [links[7], links[6], links[5]]
    assert await archive.port.read(head, AuditFilter(), links[5].row.position, 3) == [links[4], links[3], links[2]]
    assert await archive.port.read(head, AuditFilter(), links[0].row.position, 3) == []
    assert await archive.port.count(head, AuditFilter(), 100) == 8
    assert await archive.port.count(head, AuditFilter(), 5) == 5


async def test_each_filter_finds_its_own_in_the_archive(archive: Archive):
    kinds = [{}, {"severity": Severity.ERROR}, {"event_type": "o'clock"}, {"request_id": "req-9"}]
    links = chain_of([replace(entry, **kind) for entry, kind in zip(entries(4), kinds, strict=True)])
    await archive.port.put(links)
    head = new_head(None, links)
    expected = {
        AuditFilter(): [3, 2, 1, 0],
        AuditFilter(severity=Severity.ERROR): [1],
        AuditFilter(event_type="o'clock"): [2],
        AuditFilter(event_type="x' or PartitionKey ne 'y"): [],
        AuditFilter(request_id="req-9"): [3],
        AuditFilter(since=NOW + 2 * SECOND): [3, 2],
        AuditFilter(until=NOW + 2 * SECOND): [1, 0],
        AuditFilter(since=NOW + SECOND, until=NOW + 2 * SECOND): [1],
    }
    for wanted, indexes in expected.items():
        assert await archive.port.read(head, wanted, None, 10) == [links[index] for index in indexes], wanted
        assert await archive.port.count(head, wanted, 10) == len(indexes)


async def test_an_archive_that_cannot_be_reached_says_so():
    nowhere = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:9/a;"
    archive = tables_archive_at(nowhere)
    with pytest.raises(errors.ArchiveUnavailable):
        await archive.put(chain_of(entries(1)))
    await archive.close()


def tables_archive_at(connection_string: str) -> AuditArchive:
    from shared_code.adapters.tables_audit_archive import TablesAuditArchive, by_connection_string

    return TablesAuditArchive(by_connection_string(connection_string))


# ── The archiver ─────────────────────────────────────────────────────────────────────────────────


async def test_what_is_older_than_the_hot_window_moves_and_the_rest_stays(archive: Archive):
    old, young = entries(3), entries(2)
    young = [replace(entry, log_id=uuid4(), created_at=LATER - DAY) for entry in young]
    store = await holding(*old, *young)
    assert await archiver(store, archive.port, hot=2 * DAY).move() == 3
    async with store.reading() as reading:
        assert {entry.log_id for entry in (await reading.audit.list(AuditFilter(), Page())).items} == {
            entry.log_id for entry in young
        }
        (head,) = await reading.audit_heads.list(AuditFilter())
    assert (head.sequence, head.oldest, head.newest) == (3, NOW, NOW + 2 * SECOND)
    assert len(archive.places()) == 3
    assert await archiver(store, archive.port, hot=2 * DAY).move() == 0


async def test_rows_go_to_a_chain_for_each_partner_and_month(archive: Archive):
    house = new_entry(partner_id=None, created_at=NOW)
    store = await holding(*entries(2), house, new_entry(partner_id=PARTNER, created_at=NOW + 30 * DAY))
    assert await archiver(store, archive.port).move() == 4
    assert [partition for partition, _ in archive.places()] == [
        f"{PARTNER}_202611",
        f"{PARTNER}_202611",
        f"{PARTNER}_202612",
        "house_202611",
    ]
    assert (await verdict(store, archive)).breaks == []


async def test_without_an_archive_rows_stay():
    store = await holding(*entries(2))
    assert await archiver(store, None).move() == 0
    assert (await AuditService(store).list(AuditFilter(), Page())).total == 2


async def test_with_the_archive_down_rows_wait():
    store, archive = await holding(*entries(2)), MemoryAuditArchive(down=True)
    with pytest.raises(errors.ArchiveUnavailable):
        await archiver(store, archive).move()
    assert (await AuditService(store, archive).list(AuditFilter(), Page())).total == 2
    archive.down = False
    assert await archiver(store, archive).move() == 2


async def test_a_crash_between_archive_and_store_loses_and_doubles_nothing(archive: Archive):
    """It stops after the archive was written: the rows are in both places until the next run."""
    store = await holding(*entries(5))
    before = await AuditService(store, archive.port).list(AuditFilter(), Page())
    async with store.reading() as reading:
        rows = await reading.audit.oldest(LATER, 4)
    await archive.port.put(linked(rows, None))
    assert await AuditService(store, archive.port).list(AuditFilter(), Page()) == before
    assert (await verdict(store, archive)).breaks == []
    assert await archiver(store, archive.port).move() == 5
    assert await AuditService(store, archive.port).list(AuditFilter(), Page()) == before
    assert (await verdict(store, archive)).rows == 5
    assert (await verdict(store, archive)).breaks == []


async def test_an_archiver_that_lost_its_lock_changes_nothing(archive: Archive):
    store = await holding(*entries(3))
    slow = archiver(store, archive.port)
    async with store.reading() as reading:
        rows = await reading.audit.oldest(LATER, 2)
    chains = audit_archive.chained(rows, {})
    assert await archiver(store, archive.port).move() == 3
    with pytest.raises(errors.Conflict):
        await slow._settle(rows, chains, {})
    assert (await verdict(store, archive)).breaks == []


async def test_it_moves_batch_by_batch(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audit_archive, "BATCH", 4)
    found = [replace(entry, partner_id=PARTNER if index % 3 else None) for index, entry in enumerate(entries(18))]
    store = await holding(*found)
    assert await archiver(store, archive.port).move() == 18
    judged = await verdict(store, archive)
    assert (judged.chains, judged.rows, judged.breaks) == (2, 18, [])


# ── The reader ───────────────────────────────────────────────────────────────────────────────────


async def half_archived(archive: Archive) -> tuple[AuditService, list[AuditEntry]]:
    """Twelve rows of two partners and the house, over three months; the older eight are archived. Newest first."""
    owners = [PARTNER, UUID(int=8), None]
    found = [
        new_entry(partner_id=owners[index % 3], created_at=NOW + index * 8 * DAY, request_id=f"req-{index % 2}")
        for index in range(12)
    ]
    store = await holding(*found)
    hot = LATER - found[8].created_at
    assert await archiver(store, archive.port, hot).move() == 8
    return AuditService(store, archive.port), list(reversed(found))


@pytest.mark.parametrize("limit", [1, 3, 4, 5, 12, 50])
async def test_the_list_goes_on_into_the_archive(archive: Archive, limit: int):
    audit, newest_first = await half_archived(archive)
    for partner_id in (None, PARTNER):
        wanted = AuditFilter(partner_id=partner_id)
        own = [entry for entry in newest_first if partner_id in (None, entry.partner_id)]
        assert await by_cursor(lambda page, wanted=wanted: audit.list(wanted, page), limit, nothing) == own
        assert await by_offset(lambda page, wanted=wanted: audit.list(wanted, page), limit) == own


async def test_the_total_counts_the_archive_too_whatever_is_asked(archive: Archive):
    audit, newest_first = await half_archived(archive)
    oldest = newest_first[-1].created_at
    for wanted, fits in {
        AuditFilter(): lambda _: True,
        AuditFilter(request_id="req-1"): lambda entry: entry.request_id == "req-1",
        AuditFilter(since=oldest + DAY): lambda entry: entry.created_at > oldest,
        AuditFilter(until=oldest + 20 * DAY): lambda entry: entry.created_at < oldest + 20 * DAY,
        AuditFilter(partner_id=PARTNER, request_id="req-0"): lambda entry: (
            (entry.partner_id, entry.request_id) == (PARTNER, "req-0")
        ),
        AuditFilter(partner_id=uuid4()): lambda _: False,
    }.items():
        found = await audit.list(wanted, Page(limit=50))
        assert (found.items, found.total) == ([e for e in newest_first if fits(e)], len(found.items)), wanted
        assert (await audit.list(wanted, Page(limit=1))).total == found.total


async def test_a_cursor_and_an_offset_together_count_from_the_cursor_into_the_archive(archive: Archive):
    audit, newest_first = await half_archived(archive)
    first = await audit.list(AuditFilter(), Page(limit=2))
    for offset in range(11):
        page = await audit.list(AuditFilter(), Page(limit=3, offset=offset, after=first.next))
        assert page.items == newest_first[2 + offset : 5 + offset], offset


async def test_with_the_archive_down_newer_rows_are_read_and_older_ones_are_refused():
    archive = memory_archive()
    audit, newest_first = await half_archived(archive)
    assert isinstance(archive.port, MemoryAuditArchive)
    archive.port.down = True
    found = await audit.list(AuditFilter(request_id="req-1"), Page(limit=1))
    assert (found.items, found.exact) == ([newest_first[0]], False)
    with pytest.raises(errors.ArchiveUnavailable):
        await audit.list(AuditFilter(), Page(limit=50))
    whole = await audit.list(AuditFilter(), Page(limit=4))
    archive.port.down = False
    assert whole.items == newest_first[:4]
    assert (await audit.list(AuditFilter(), Page(after=whole.next))).items == newest_first[4:]


# ── The verifier ─────────────────────────────────────────────────────────────────────────────────


async def verdict(store: MemoryStore, archive: Archive) -> Verdict:
    return await AuditVerifier(store, archive.port).verify()


async def archived(archive: Archive, count: int = 6) -> tuple[MemoryStore, list[tuple[str, str]]]:
    """A chain of that many, and its places in the order of the chain."""
    store = await holding(*entries(count))
    await archiver(store, archive.port).move()
    assert await verdict(store, archive) == Verdict(chains=1, rows=count, breaks=[])
    return store, list(reversed(archive.places()))


@pytest.mark.parametrize("index", [0, 2, 5])
@pytest.mark.parametrize(
    "changes",
    [{"message": "nothing happened"}, {"previous_hash": "f" * 64}, {"note": "put in by hand"}, {"hash": "f" * 64}],
    ids=lambda changes: next(iter(changes)),
)
async def test_a_row_that_was_edited_is_named(archive: Archive, index: int, changes: dict[str, str]):
    store, places = await archived(archive)
    archive.edit(places[index], changes)
    (found,) = (await verdict(store, archive)).breaks
    assert (found.partition, found.row) == places[index]
    assert found.expected != found.found


async def test_a_row_that_was_edited_with_its_own_hash_made_anew_is_named(archive: Archive):
    for index in (0, 3, 5):
        store, places = await archived(archive)
        links = [found.link async for found in archive.port.all()]
        link = next(link for link in links if link and link.row.name == places[index][1])
        true, forged = link.hash, replace(link, row=replace(link.row, entry=replace(link.row.entry, message="forged")))
        await archive.port.put([forged])
        (found,) = (await verdict(store, archive)).breaks
        assert (found.row, found.sequence, found.expected, found.found) == (
            places[index][1],
            index + 1,
            true,
            forged.hash,
        )
        for place in places:
            archive.delete(place)


@pytest.mark.parametrize("index", [0, 2, 5])
async def test_a_row_that_was_removed_is_named(archive: Archive, index: int):
    store, places = await archived(archive)
    archive.delete(places[index])
    (found,) = (await verdict(store, archive)).breaks
    assert (found.partition, found.row) == places[index]
    assert (found.sequence, found.fault, found.found) == (index + 1, "is missing", "")
    assert len(found.expected) == 64


@pytest.mark.parametrize("left", [0, 1, 4])
async def test_a_tail_that_was_cut_off_is_noticed(archive: Archive, left: int):
    store, places = await archived(archive)
    for place in places[left:]:
        archive.delete(place)
    (found,) = (await verdict(store, archive)).breaks
    assert (found.partition, found.sequence, found.fault) == (places[0][0], left + 1, "is missing")


@pytest.mark.parametrize("begun", [True, False])
async def test_a_row_that_somebody_put_there_is_named(archive: Archive, begun: bool):
    store, places = await archived(archive)
    partner_id = PARTNER if begun else uuid4()
    async with store.reading() as reading:
        head = (await reading.audit_heads.of([places[0][0]])).get(places[0][0]) if begun else None
    entry = new_entry(partner_id=partner_id, created_at=NOW + 60 * SECOND)
    forged = linked([AuditRow(number=900, entry=entry)], head)
    await archive.port.put(forged)
    (found,) = (await verdict(store, archive)).breaks
    assert (found.row, found.fault) == (forged[0].row.name, "was put there by somebody else")


async def test_each_broken_chain_is_told_and_the_whole_ones_are_not(archive: Archive):
    partners = [UUID(int=number) for number in (1, 2, 3)]
    store = await holding(
        *(new_entry(partner_id=each, created_at=NOW + n * SECOND) for each in partners for n in (0, 1))
    )
    await archiver(store, archive.port).move()
    places = archive.places()
    archive.edit(places[0], {"target": "x"})
    archive.delete(places[-1])
    judged = await verdict(store, archive)
    assert (judged.chains, judged.rows) == (3, 5)
    assert [(each.partition, each.row) for each in judged.breaks] == [places[0], places[-1]]
