"""Bring the database's schema up to date: `python -m scripts.migrate [--check] [--url URL]`.

The URL comes from --url, else MIGRATION_DATABASE_URL (a role that may change tables), else DATABASE_URL.
With DATABASE_AUTH=entra it has no password: that is a token of the identity at hand (AZURE_CLIENT_ID, or `az login`).
Exit code 0: up to date. 1: it failed, and one line says why. 3: with --check, something is pending.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import make_conninfo

from shared_code import errors
from shared_code.adapters.azure_identity import POSTGRES, AzureIdentity
from shared_code.adapters.postgres_migrations import MigrationError, migrate, pending

FOLDER = Path(__file__).resolve().parent.parent / "migrations"
UP_TO_DATE, FAILED, PENDING = 0, 1, 3


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return asyncio.run(run(options))
    except MigrationError as error:
        print(f"Migrations failed: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Migrations were interrupted; run again to go on.", file=sys.stderr)
    return FAILED


def parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        prog="python -m scripts.migrate",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--check", action="store_true", help="only say what is pending; changes nothing")
    made.add_argument("--url", help="the database, instead of the one in the environment")
    made.add_argument("--folder", type=Path, default=FOLDER, help="where the files are (default: %(default)s)")
    return made


async def run(options: argparse.Namespace) -> int:
    url = options.url or os.environ.get("MIGRATION_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not url:
        raise MigrationError("no database is named: set DATABASE_URL, or give --url.")
    if os.environ.get("DATABASE_AUTH") == "entra":
        url = await with_token(url)
    if options.check:
        return report_pending(await pending(url, options.folder))
    done = await migrate(url, options.folder, say)
    say(f"Migrations applied: {len(done)}." if done else "Nothing to do: the schema is up to date.")
    return UP_TO_DATE


async def with_token(url: str) -> str:
    """The connection string with a token for a password; it outlives any run."""
    identity = AzureIdentity(os.environ.get("AZURE_CLIENT_ID") or None)
    try:
        token = await identity.token(POSTGRES)
    except errors.Unavailable as error:
        raise MigrationError("no token for the database: is there an identity that may have one?") from error
    finally:
        await identity.close()
    return make_conninfo(url, password=token.text)


def report_pending(files: Sequence[str]) -> int:
    for file in files:
        say(f"{file} is pending")
    if not files:
        say("Nothing is pending: the schema is up to date.")
    return PENDING if files else UP_TO_DATE


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
