"""KQL two ways: Microsoft's own parser says whether a query is right, DuckDB (through duckdb-kql) what it answers."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb_kql

from devstack.install import AZURITE, node_and_npm

type Rows = Sequence[Mapping[str, Any]]

TABLES: Mapping[str, Mapping[str, str]] = {
    "AppRequests": {
        "TimeGenerated": "datetime",
        "Name": "string",
        "Url": "string",
        "Success": "bool",
        "ResultCode": "string",
        "DurationMs": "real",
        "ItemCount": "int",
        "AppRoleName": "string",
        "OperationId": "string",
        "Properties": "dynamic",
    },
    "AppMetrics": {
        "TimeGenerated": "datetime",
        "Name": "string",
        "Sum": "real",
        "Min": "real",
        "Max": "real",
        "ItemCount": "int",
        "AppRoleName": "string",
        "Properties": "dynamic",
    },
    "AppEvents": {
        "TimeGenerated": "datetime",
        "Name": "string",
        "ItemCount": "int",
        "AppRoleName": "string",
        "OperationId": "string",
        "Properties": "dynamic",
    },
}
"""Columns of a Log Analytics workspace that the queries may use."""
IN_DUCKDB = {
    "datetime": "TIMESTAMP",
    "string": "VARCHAR",
    "bool": "BOOLEAN",
    "real": "DOUBLE",
    "int": "INTEGER",
    "dynamic": "JSON",
}


WEIGHTED = re.compile(r"percentilew\((\w+), ItemCount, ")


def complaints(queries: Mapping[str, str]) -> dict[str, list[str]]:
    """What Microsoft's parser has against each query, knowing the tables above; one start of Node for all."""
    node, _ = node_and_npm()
    tables = {
        name: f"({', '.join(f'{column}: {kind}' for column, kind in columns.items())})"
        for name, columns in TABLES.items()
    }
    done = subprocess.run(
        [str(node), str(Path(__file__).with_name("kusto.js"))],
        input=json.dumps({"tables": tables, "queries": queries}),
        env={**os.environ, "NODE_PATH": str(AZURITE / "node_modules")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def answer(query: str, **tables: Rows) -> list[dict[str, Any]]:
    """The rows that a query gives on these rows; a table that is not named is empty.

    The engine knows no percentile by weight: where one is asked for, each row stands there as often as it counts.
    """
    plain_query = WEIGHTED.sub(r"percentile(\1, ", query)
    weighted = plain_query != query
    connection = duckdb_kql.connect()
    try:
        for name, columns in TABLES.items():
            definition = ", ".join(f'"{column}" {IN_DUCKDB[kind]}' for column, kind in columns.items())
            connection.execute(f'CREATE TABLE "{name}" ({definition})')
            for row in tables.get(name, ()):
                for _ in range(row["ItemCount"] if weighted else 1):
                    insert(connection, name, {"TimeGenerated": datetime.now(UTC), **row})
        found = duckdb_kql.query(connection, plain_query)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    finally:
        connection.close()


def insert(connection: Any, table: str, row: Mapping[str, Any]) -> None:
    values = [json.dumps(value) if isinstance(value, dict) else plain(value) for value in row.values()]
    columns = ", ".join(f'"{name}"' for name in row)
    connection.execute(f'INSERT INTO "{table}" ({columns}) VALUES ({", ".join("?" * len(row))})', values)


def plain(value: Any) -> Any:
    """DuckDB's TIMESTAMP, like a workspace's datetime, is UTC and carries no zone."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
