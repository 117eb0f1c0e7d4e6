"""Every sealed column of the database, for the rotation of keys. A new one is one more line of SEALED.

Each needs an index on `split_part(column, '.', 2)`, its key id (migrations), or looking for old ones would read
the whole table. Rows are told apart by `ctid`: no other than this transaction moves a row that it holds.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString, cast

from psycopg import sql

from shared_code.adapters.postgres_rows import Connection
from shared_code.model import SealedUnder, SealedValue


@dataclass(frozen=True, slots=True)
class Column:
    table: LiteralString
    column: LiteralString
    owner: LiteralString

    def filled(self, statement: LiteralString) -> sql.Composed:
        names = {"table": self.table, "sealed": self.column, "owner": self.owner}
        return sql.SQL(statement).format(**{name: sql.Identifier(text) for name, text in names.items()})


SEALED = {
    "partners.credentials": Column("partners", "credentials_encrypted", "partner_id"),
    "webhook_endpoints.secret": Column("webhook_endpoints", "secret_encrypted", "partner_id"),
    "inbound_secrets.secret": Column("inbound_secrets", "secret_encrypted", "partner_id"),
    "oauth_providers.client_secret": Column("oauth_providers", "client_secret_encrypted", "partner_id"),
    "oauth_states.verifier": Column("oauth_states", "verifier_encrypted", "partner_id"),
    "oauth_connections.access_token": Column("oauth_connections", "access_token_encrypted", "partner_id"),
    "oauth_connections.refresh_token": Column("oauth_connections", "refresh_token_encrypted", "partner_id"),
    "idempotency_replies.body": Column("idempotency_replies", "body_encrypted", "tenant"),
}
"""The name under which a value was sealed → where those values are."""

KIDS = """WITH RECURSIVE found AS (
  (SELECT split_part({sealed}, '.', 2) AS kid FROM {table} WHERE {sealed} IS NOT NULL ORDER BY 1 LIMIT 1)
  UNION ALL
  SELECT (SELECT split_part({sealed}, '.', 2) FROM {table}
          WHERE {sealed} IS NOT NULL AND split_part({sealed}, '.', 2) > kid ORDER BY 1 LIMIT 1)
  FROM found WHERE kid IS NOT NULL
) SELECT kid FROM found WHERE kid IS NOT NULL"""
"""One step in the index for each key there is, however many rows."""
COUNT = """SELECT split_part({sealed}, '.', 2) AS kid, count(*) AS rows FROM {table}
  WHERE {sealed} IS NOT NULL GROUP BY 1"""
UNDER = """SELECT ctid::text AS place, {owner}::text AS owner, {sealed} AS text FROM {table}
  WHERE {sealed} IS NOT NULL AND split_part({sealed}, '.', 2) = %(kid)s AND ctid > %(after)s::tid
  ORDER BY {table}.ctid LIMIT %(limit)s FOR UPDATE SKIP LOCKED"""
PUT = """UPDATE {table} SET {sealed} = new.text
  FROM unnest(%(places)s::text[], %(before)s::text[], %(texts)s::text[]) AS new (place, before, text)
  WHERE {table}.ctid = new.place::tid AND {sealed} = new.before"""


@dataclass(frozen=True, slots=True)
class PostgresSealed:
    connection: Connection

    async def kids(self) -> Collection[SealedUnder]:
        found: list[SealedUnder] = []
        for field, column in SEALED.items():
            rows = await (await self.connection.execute(column.filled(KIDS))).fetchall()
            found += [SealedUnder(field=field, kid=row["kid"]) for row in rows]
        return found

    async def counts(self) -> Mapping[SealedUnder, int]:
        found: dict[SealedUnder, int] = {}
        for field, column in SEALED.items():
            rows = await (await self.connection.execute(column.filled(COUNT))).fetchall()
            found |= {SealedUnder(field=field, kid=row["kid"]): row["rows"] for row in rows}
        return found

    async def hold(self, under: SealedUnder, after: str | None, limit: int) -> Sequence[SealedValue]:
        values = {"kid": under.kid, "after": after or "(0,0)", "limit": limit}
        found = await self.connection.execute(SEALED[under.field].filled(UNDER), values)
        return [SealedValue(**row) for row in await found.fetchall()]

    async def put(self, field: str, values: Sequence[tuple[SealedValue, str]]) -> int:
        given = {
            "places": [value.place for value, _ in values],
            "before": [value.text for value, _ in values],
            "texts": [text for _, text in values],
        }
        return (await self.connection.execute(SEALED[field].filled(PUT), cast(dict[str, object], given))).rowcount
