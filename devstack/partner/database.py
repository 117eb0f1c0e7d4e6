"""The partner's one SQLite file: received webhooks, their settings, seeds, changed records, OAuth grants.

It outlives the process, also a killed one; the last writes may be lost when the machine itself goes down.
"""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from devstack.serving import CannotStart

SCHEMA = """
CREATE TABLE IF NOT EXISTS hooks (name TEXT PRIMARY KEY, settings TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS received (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
    headers BLOB NOT NULL, body BLOB NOT NULL, verified INTEGER NOT NULL, at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS received_by_name ON received (name, seq);
CREATE TABLE IF NOT EXISTS seeds (resource TEXT PRIMARY KEY, records INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS changes (
    resource TEXT NOT NULL, id INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL, revision INTEGER NOT NULL, body BLOB, deleted INTEGER NOT NULL,
    PRIMARY KEY (resource, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS oauth_codes (
    code TEXT PRIMARY KEY, client_id TEXT NOT NULL, redirect_uri TEXT NOT NULL, challenge TEXT NOT NULL,
    scope TEXT NOT NULL, expires_at REAL NOT NULL, used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS oauth_tokens (
    token TEXT PRIMARY KEY, kind TEXT NOT NULL, grant_id TEXT NOT NULL, client_id TEXT NOT NULL,
    scope TEXT NOT NULL, expires_at REAL, revoked INTEGER NOT NULL);
"""


def open_database(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(SCHEMA)
    except sqlite3.Error as problem:
        raise CannotStart(f"cannot use {path}: {problem}") from problem
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Generator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
