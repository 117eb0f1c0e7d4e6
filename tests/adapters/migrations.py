"""What the tests of the migration runner share."""

from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / "migrations"
NOBODY = "postgresql://someone:s3cret@127.0.0.1:9/nowhere"


def add(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return name


def quiet(line: str) -> None:
    """Nobody listens."""


def rows(url: str, query: bytes) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(query)
        return found.fetchall() if found.description else []


def files_applied(url: str) -> list[object]:
    return [name for (name,) in rows(url, b"SELECT name FROM schema_migrations ORDER BY version")]


def forget(url: str, version: int) -> None:
    rows(url, f"DELETE FROM schema_migrations WHERE version = {version}".encode())
