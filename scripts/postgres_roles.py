"""Give the app's database role what it needs and no more: `python -m scripts.postgres_roles --role NAME`.

The role may read and change rows; it may not create, change or drop anything, nor touch the list of migrations.
Safe to repeat; tables of later migrations are covered too. Run it as the role that migrates.
With --object-id the role is made first where it is not there: on Azure, for the app's managed identity.
The URL comes from MIGRATION_DATABASE_URL, else DATABASE_URL; its password may stand in PGPASSWORD.

Exit code 0: done. 1: it failed, and one line says why. 2: a wrong command line.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

GRANTS = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO {role}",
    "REVOKE ALL ON TABLE schema_migrations FROM {role}",
)
NEW_PRINCIPAL = "SELECT pgaadauth_create_principal_with_oid(%s, %s, 'service', false, false)"
DEADLINES = "-c lock_timeout=5s -c statement_timeout=30s"


class NoRole(Exception):
    """The role is not there, and nothing says for whom to make it."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    url = os.environ.get("MIGRATION_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if not url:
        print("postgres_roles: set MIGRATION_DATABASE_URL or DATABASE_URL", file=sys.stderr)
        return 1
    try:
        made = make_role(url, options.role, options.object_id)
        grant(url, options.role)
    except (psycopg.Error, NoRole) as error:
        print(f"postgres_roles: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 1
    print(f"{options.role} {'was made and ' if made else ''}may read and change rows, and nothing else.")
    return 0


def parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        prog="python -m scripts.postgres_roles",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--role", required=True, metavar="NAME", help="on Azure, the name of the app's managed identity")
    made.add_argument("--object-id", type=UUID, metavar="ID", help="the principal id of the app's managed identity")
    return made


def make_role(url: str, role: str, object_id: UUID | None) -> bool:
    """Whether it had to be made. Azure keeps the function for it in the database `postgres`."""
    with connected(make_conninfo(url, dbname="postgres")) as connection:
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None:
            return False
        if object_id is None:
            raise NoRole(f"there is no role {role}; give --object-id to make it")
        connection.execute(NEW_PRINCIPAL, [role, str(object_id)])
        return True


def grant(url: str, role: str) -> None:
    with connected(url) as connection, connection.transaction():
        for statement in GRANTS:
            connection.execute(sql.SQL(statement).format(role=sql.Identifier(role)))


def connected(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, connect_timeout=10, options=DEADLINES)


if __name__ == "__main__":
    sys.exit(main())
