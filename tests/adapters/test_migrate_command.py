"""The runner as a process: killed half-way, and what its command says and ends with."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from scripts import migrate as script
from shared_code.adapters.postgres_migrations import migrate
from tests.adapters.migrations import NOBODY, ROOT, add, files_applied, quiet, rows

HELD = """DO $$ BEGIN
  WHILE EXISTS (SELECT FROM hold) LOOP PERFORM pg_sleep(0.02); END LOOP;
END $$;
"""
SLEEPING = "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid())"
PATIENCE = 20


# ── Killed half-way ──────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def runner(url: str, folder: Path, *options: str) -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "scripts.migrate", "--folder", str(folder), *options)
    process = await create_subprocess_exec(
        *command, cwd=ROOT, env={"DATABASE_URL": url, "PATH": ""}, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def seen(url: str, condition: str) -> None:
    """Returns once the condition holds in the database."""
    async with asyncio.timeout(PATIENCE), await AsyncConnection.connect(url, autocommit=True) as connection:
        while not (await (await connection.execute(f"SELECT {condition}".encode())).fetchone() or (False,))[0]:
            await asyncio.sleep(0.02)


async def test_a_killed_runner_leaves_a_database_that_the_next_one_completes(bare_database: str, two_files: Path):
    add(two_files, "0003_slow.sql", f"CREATE TABLE others (id integer);\n{HELD}INSERT INTO things VALUES (3);\n")
    rows(bare_database, b"CREATE TABLE hold (); INSERT INTO hold DEFAULT VALUES")
    async with runner(bare_database, two_files) as process:
        await seen(bare_database, SLEEPING)
        process.kill()
    assert files_applied(bare_database) == ["0001_things.sql", "0002_first_thing.sql"]
    rows(bare_database, b"DELETE FROM hold")
    assert await migrate(bare_database, two_files, quiet) == ["0003_slow.sql"]
    assert rows(bare_database, b"SELECT count(*) FROM things") == [(3,)]


async def test_the_server_notices_that_a_runner_is_gone_and_frees_its_lock(bare_database: str, two_files: Path):
    add(two_files, "0003_endless.sql", "SELECT pg_sleep(600);\n")
    async with runner(bare_database, two_files) as process:
        await seen(bare_database, SLEEPING)
        process.kill()
    (two_files / "0003_endless.sql").unlink()
    async with asyncio.timeout(PATIENCE):
        assert await migrate(bare_database, two_files, quiet) == []


# ── The command ──────────────────────────────────────────────────────────────────────────────────


async def run(url: str, folder: Path, *options: str) -> tuple[int, str, str]:
    async with runner(url, folder, *options) as process:
        out, error = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), error.decode()


async def test_the_command_tells_what_it_does_and_ends_with_0(bare_database: str, two_files: Path):
    assert (await run(bare_database, two_files, "--check"))[0] == 3
    code, out, error = await run(bare_database, two_files)
    assert (code, error) == (0, "")
    assert out.splitlines()[-1] == "Migrations applied: 2."
    assert await run(bare_database, two_files) == (0, "Nothing to do: the schema is up to date.\n", "")
    assert await run(bare_database, two_files, "--check") == (0, "Nothing is pending: the schema is up to date.\n", "")


def test_a_failure_is_one_line_and_ends_with_1(two_files: Path, capsys: pytest.CaptureFixture[str]):
    assert script.main(["--url", NOBODY, "--folder", str(two_files)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("Migrations failed: The database cannot be reached: ")
    assert told.err.count("\n") == 1


def test_the_url_for_migrations_goes_before_the_apps_own(
    bare_database: str, two_files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DATABASE_URL", NOBODY)
    monkeypatch.setenv("MIGRATION_DATABASE_URL", bare_database)
    assert script.main(["--folder", str(two_files), "--check"]) == 3
    monkeypatch.delenv("MIGRATION_DATABASE_URL")
    assert script.main(["--folder", str(two_files), "--check"]) == 1
    monkeypatch.delenv("DATABASE_URL")
    assert script.main(["--folder", str(two_files)]) == 1
    assert "set DATABASE_URL, or give --url" in capsys.readouterr().err
