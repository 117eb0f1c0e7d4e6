"""The migration runner: each file once, in order, by one runner, whole or not at all."""

import asyncio
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from shared_code.adapters.postgres_migrations import LOCK, MigrationError, migrate, pending, read
from tests.adapters.migrations import NOBODY, OURS, add, files_applied, forget, quiet, rows


async def failure(url: str, folder: Path) -> str:
    with pytest.raises(MigrationError) as failed:
        await migrate(url, folder, quiet, wait=0)
    assert "\n" not in str(failed.value)
    return str(failed.value)


# ── What it does ─────────────────────────────────────────────────────────────────────────────────


async def test_files_are_applied_in_order_with_their_checksums(bare_database: str, two_files: Path):
    told: list[str] = []
    assert await migrate(bare_database, two_files, told.append) == ["0001_things.sql", "0002_first_thing.sql"]
    assert [line.split()[:2] for line in told] == [["0001_things.sql", "applied"], ["0002_first_thing.sql", "applied"]]
    assert rows(bare_database, b"SELECT id, name FROM things ORDER BY id") == [(1, "100% one"), (2, None)]
    recorded = rows(bare_database, b"SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    assert recorded == [(file.version, file.file, file.checksum) for file in read(two_files)]


async def test_a_second_run_applies_nothing(bare_database: str, two_files: Path):
    await migrate(bare_database, two_files, quiet)
    before = rows(bare_database, b"SELECT * FROM schema_migrations ORDER BY version")
    assert await migrate(bare_database, two_files, quiet) == []
    assert rows(bare_database, b"SELECT * FROM schema_migrations ORDER BY version") == before


async def test_a_later_run_applies_only_what_is_new(bare_database: str, two_files: Path):
    await migrate(bare_database, two_files, quiet)
    add(two_files, "0003_more.sql", "INSERT INTO things VALUES (3);\n")
    assert await pending(bare_database, two_files) == ["0003_more.sql"]
    assert await migrate(bare_database, two_files, quiet) == ["0003_more.sql"]
    assert await pending(bare_database, two_files) == []


async def test_our_own_migrations_apply_twice_to_the_same_end(bare_database: str):
    assert await migrate(bare_database, OURS, quiet) == [path.name for path in sorted(OURS.glob("*.sql"))]
    assert await migrate(bare_database, OURS, quiet) == []


async def test_asking_what_is_pending_changes_nothing(bare_database: str, two_files: Path):
    assert await pending(bare_database, two_files) == ["0001_things.sql", "0002_first_thing.sql"]
    assert rows(bare_database, b"SELECT FROM pg_tables WHERE schemaname = 'public'") == []


async def test_a_checkout_with_other_line_ends_is_the_same_migration(bare_database: str, two_files: Path):
    await migrate(bare_database, two_files, quiet)
    path = two_files / "0002_first_thing.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert await migrate(bare_database, two_files, quiet) == []


# ── What it refuses ──────────────────────────────────────────────────────────────────────────────


async def test_a_failing_file_leaves_nothing_of_itself_and_all_before_it(bare_database: str, two_files: Path):
    bad = add(two_files, "0003_bad.sql", "CREATE TABLE others (id integer);\n\nINSERT INTO nowhere VALUES (1);\n")
    assert await failure(bare_database, two_files) == f'{bad}, line 3: relation "nowhere" does not exist'
    assert files_applied(bare_database) == ["0001_things.sql", "0002_first_thing.sql"]
    assert rows(bare_database, b"SELECT to_regclass('others')") == [(None,)]


async def test_an_error_never_shows_the_values_it_is_about(bare_database: str, two_files: Path):
    add(
        two_files, "0003_bad.sql", "ALTER TABLE things ADD UNIQUE (name);\nINSERT INTO things VALUES (9, '100% one');\n"
    )
    assert "100%" not in await failure(bare_database, two_files)


async def test_a_file_that_ends_its_own_transaction_is_refused(bare_database: str, two_files: Path):
    add(two_files, "0003_bad.sql", "INSERT INTO things VALUES (9);\nCOMMIT;\n")
    assert "0003_bad.sql ends its own transaction" in await failure(bare_database, two_files)
    assert files_applied(bare_database) == ["0001_things.sql", "0002_first_thing.sql"]


async def test_a_changed_file_is_named(bare_database: str, two_files: Path):
    await migrate(bare_database, two_files, quiet)
    add(two_files, "0001_things.sql", "CREATE TABLE things (id bigint PRIMARY KEY, name text);\n")
    assert "0001_things.sql" in await failure(bare_database, two_files)


async def test_a_renamed_file_is_named(bare_database: str, two_files: Path):
    await migrate(bare_database, two_files, quiet)
    (two_files / "0002_first_thing.sql").rename(two_files / "0002_renamed.sql")
    message = await failure(bare_database, two_files)
    assert "0002_first_thing.sql" in message
    assert "0002_renamed.sql" in message


async def test_a_newer_database_is_left_alone(bare_database: str, two_files: Path):
    add(two_files, "0003_future.sql", "INSERT INTO things VALUES (3);\n")
    await migrate(bare_database, two_files, quiet)
    (two_files / "0003_future.sql").unlink()
    assert "0003_future.sql" in await failure(bare_database, two_files)
    assert "newer than this code" in await failure(bare_database, two_files)


async def test_a_migration_that_was_skipped_is_not_applied_late(bare_database: str, two_files: Path):
    await migrate(bare_database, two_files, quiet)
    forget(bare_database, 1)
    assert "earlier migration was never applied" in await failure(bare_database, two_files)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("0004_gap.sql", "Number 0003 is missing before 0004_gap.sql."),
        ("0002_again.sql", "Number 0002 is used twice, the second time by 0002_first_thing.sql."),
        ("0000_zero.sql", "0000_zero.sql is not named like a migration: NNNN_name.sql, from 0001, in small letters."),
        ("3_short.sql", "3_short.sql is not named like a migration: NNNN_name.sql, from 0001, in small letters."),
        ("0003_Case.sql", "0003_Case.sql is not named like a migration: NNNN_name.sql, from 0001, in small letters."),
    ],
)
async def test_numbers_that_are_missing_doubled_or_odd_stop_it_before_it_connects(
    two_files: Path, name: str, complaint: str
):
    add(two_files, name, "SELECT 1;\n")
    assert await failure(NOBODY, two_files) == complaint


async def test_a_folder_without_migrations_is_refused(tmp_path: Path):
    assert "no migrations" in await failure(NOBODY, tmp_path)
    assert "no migrations" in await failure(NOBODY, tmp_path / "absent")


async def test_a_database_out_of_reach_is_said_without_the_password(two_files: Path):
    message = await failure(NOBODY, two_files)
    assert message.startswith("The database cannot be reached: ")
    assert "s3cret" not in message
    assert "s3cret" not in await failure("postgresql://someone:s3cret@[nonsense/x?y", two_files)


async def test_a_table_in_use_is_not_waited_for_long(bare_database: str, two_files: Path):
    await migrate(bare_database, two_files, quiet)
    add(two_files, "0003_change.sql", "ALTER TABLE things ADD COLUMN size integer;\n")
    async with await AsyncConnection.connect(bare_database) as reader:
        await reader.execute("SELECT * FROM things")
        assert "0003_change.sql: another session keeps a lock" in await failure(bare_database, two_files)
    assert await migrate(bare_database, two_files, quiet) == ["0003_change.sql"]


# ── Two runners ──────────────────────────────────────────────────────────────────────────────────


async def test_two_runners_at_once_apply_each_file_once(bare_database: str, two_files: Path):
    done = await asyncio.gather(*(migrate(bare_database, two_files, quiet) for _ in range(4)))
    assert sorted(file for files in done for file in files) == ["0001_things.sql", "0002_first_thing.sql"]
    assert len(files_applied(bare_database)) == 2


async def test_a_second_runner_says_that_it_waits_and_goes_on_when_the_first_is_through(
    bare_database: str, two_files: Path
):
    told = asyncio.Queue[str]()
    async with await AsyncConnection.connect(bare_database, autocommit=True) as first:
        await first.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        second = asyncio.create_task(migrate(bare_database, two_files, told.put_nowait))
        assert await told.get() == "Another migration runner is at work; waiting up to 30 s for it."
    assert await second == ["0001_things.sql", "0002_first_thing.sql"]


async def test_a_second_runner_gives_up_clearly(bare_database: str, two_files: Path):
    async with await AsyncConnection.connect(bare_database, autocommit=True) as first:
        await first.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        assert "Another migration runner is still at work" in await failure(bare_database, two_files)


# ── Outside a transaction ────────────────────────────────────────────────────────────────────────


async def test_an_index_can_be_made_concurrently(bare_database: str, two_files: Path):
    text = "-- no transaction\n-- why: the table is large\nCREATE INDEX CONCURRENTLY things_name ON things (name);\n"
    name = add(two_files, "0003_index.sql", text + "\nCREATE INDEX CONCURRENTLY things_both ON things\n  (id, name);")
    await migrate(bare_database, two_files, quiet)
    assert files_applied(bare_database)[-1] == name
    assert rows(bare_database, b"SELECT count(*) FROM pg_indexes WHERE tablename = 'things'") == [(3,)]


async def test_an_index_left_unfinished_is_made_anew(bare_database: str, two_files: Path):
    text = "-- no transaction\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS things_name ON things (name);\n"
    add(two_files, "0002_first_thing.sql", "INSERT INTO things VALUES (1, 'twin'), (2, 'twin');\n")
    name = add(two_files, "0003_index.sql", text)
    assert await failure(bare_database, two_files) == f'{name}: could not create unique index "things_name"'
    assert rows(bare_database, b"SELECT indisvalid FROM pg_index WHERE indexrelid = 'things_name'::regclass") == [
        (False,)
    ]
    rows(bare_database, b"DELETE FROM things WHERE id = 2")
    assert await migrate(bare_database, two_files, quiet) == [name]
    assert rows(bare_database, b"SELECT indisvalid FROM pg_index WHERE indexrelid = 'things_name'::regclass") == [
        (True,)
    ]
