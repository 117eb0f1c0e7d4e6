"""What the webhook receiver keeps: per name its settings and the last 10,000 deliveries."""

import sqlite3
from collections import Counter
from dataclasses import dataclass

import orjson

from devstack.partner.database import transaction
from devstack.partner.hooks import HookSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    headers: dict[str, str]
    body: bytes
    verified: bool
    at: str


class Inbox:
    def __init__(self, database: sqlite3.Connection, keep: int = 10_000) -> None:
        self._database = database
        self._keep = keep
        hooks = database.execute("SELECT name, settings FROM hooks")
        self._hooks = {name: HookSettings.model_validate_json(settings) for name, settings in hooks}
        self._counts = Counter(dict(database.execute("SELECT name, count(*) FROM received GROUP BY name")))

    def hook(self, name: str) -> HookSettings:
        return self._hooks.get(name, NOTHING_SAID)

    def tell(self, name: str, settings: HookSettings) -> HookSettings:
        """Only what `settings` says is changed."""
        said = {field: getattr(settings, field) for field in settings.model_fields_set}
        with transaction(self._database):
            self._save(name, self.hook(name).model_copy(update=said))
        return self.hook(name)

    def keep(self, name: str, received: Received) -> None:
        """Store one delivery, drop the oldest beyond the bound, and count down how often to answer specially."""
        with transaction(self._database):
            self._database.execute(
                "INSERT INTO received (name, headers, body, verified, at) VALUES (?, ?, ?, ?, ?)",
                (name, orjson.dumps(received.headers), received.body, received.verified, received.at),
            )
            if self._counts[name] >= self._keep:
                self._drop_oldest(name)
            self._save(name, self.hook(name).after_one())
        self._counts[name] += 1

    def _drop_oldest(self, name: str) -> None:
        self._database.execute(
            "DELETE FROM received WHERE seq = (SELECT min(seq) FROM received WHERE name = ?)", (name,)
        )
        self._counts[name] -= 1

    def _save(self, name: str, settings: HookSettings) -> None:
        if settings == self.hook(name):
            return
        self._database.execute(
            "INSERT OR REPLACE INTO hooks (name, settings) VALUES (?, ?)", (name, settings.model_dump_json())
        )
        self._hooks[name] = settings

    def received(self, name: str, limit: int) -> list[Received]:
        """The newest `limit` deliveries, oldest first."""
        rows = self._database.execute(
            "SELECT headers, body, verified, at FROM received WHERE name = ? ORDER BY seq DESC LIMIT ?",
            (name, limit),
        ).fetchall()
        return [
            Received(headers=orjson.loads(headers), body=body, verified=bool(verified), at=at)
            for headers, body, verified, at in reversed(rows)
        ]

    def empty(self, name: str) -> None:
        """The deliveries go, the settings stay."""
        self._database.execute("DELETE FROM received WHERE name = ?", (name,))
        del self._counts[name]


NOTHING_SAID = HookSettings(secret=None)
