"""What the app's role may do in the database once `scripts.postgres_roles` has run, on a real server."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege

from scripts import postgres_roles as script
from tests.shared_servers import new_database

PASSWORD = "a password for this test"
MAKER = """CREATE OR REPLACE FUNCTION pgaadauth_create_principal_with_oid(
  role text, object_id text, kind text, is_admin boolean, is_mfa boolean) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE ROLE %I LOGIN', role);
  RETURN 'Created role for ' || role;
END $$"""
"""Stands in for Azure's function of that name, with its arguments."""


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with new_database() as url:
        monkeypatch.setenv("MIGRATION_DATABASE_URL", url)
        yield url


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """The name of a role that is not there yet; afterwards it is gone again."""
    name = f"id-pinksync-{uuid4().hex}"
    yield name
    with psycopg.connect(database, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None:
            admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def app(database: str, role: str) -> Iterator[psycopg.Connection]:
    """The app's connection, after the script has run twice."""
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(PASSWORD)))
    assert script.main(["--role", role]) == script.main(["--role", role]) == 0
    with psycopg.connect(make_conninfo(database, user=role, password=PASSWORD), autocommit=True) as connection:
        yield connection


def test_the_app_may_read_and_change_rows(app: psycopg.Connection) -> None:
    app.execute("INSERT INTO event_types (name, description) VALUES ('a.b', '')")
    app.execute("UPDATE event_types SET description = 'c' WHERE name = 'a.b'")
    assert app.execute("SELECT description FROM event_types WHERE name = 'a.b'").fetchone() == ("c",)
    assert app.execute("DELETE FROM event_types WHERE name = 'a.b'").rowcount == 1


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine ()",
        "ALTER TABLE partners ADD COLUMN mine text",
        "DROP TABLE partners",
        "TRUNCATE outbox",
        "CREATE INDEX ON partners (name)",
        "CREATE ROLE mine",
        "SELECT * FROM schema_migrations",
        "DELETE FROM schema_migrations",
    ],
)
def test_the_app_may_do_nothing_else(app: psycopg.Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        app.execute(statement.encode())


def test_tables_of_later_migrations_are_covered(app: psycopg.Connection, database: str) -> None:
    with psycopg.connect(database, autocommit=True) as migrator:
        migrator.execute("CREATE TABLE later (id bigint GENERATED ALWAYS AS IDENTITY, name text)")
    app.execute("INSERT INTO later (name) VALUES ('one')")
    assert app.execute("SELECT name FROM later").fetchone() == ("one",)


def test_on_azure_the_role_is_made_for_an_identity(
    database: str, role: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(make_conninfo(database, dbname="postgres"), autocommit=True) as admin:
        admin.execute(MAKER)
    assert script.main(["--role", role]) == 1
    assert "--object-id" in capsys.readouterr().err
    assert script.main(["--role", role, "--object-id", str(uuid4())]) == 0
    assert "was made" in capsys.readouterr().out
    assert script.main(["--role", role, "--object-id", str(uuid4())]) == 0
    assert "was made" not in capsys.readouterr().out


def test_a_failure_is_one_line_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIGRATION_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:9/none")
    assert script.main(["--role", "app"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "secret" not in told
