"""What is remembered of a timer between two starts of the host: when it ran last and when it is next."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from devstack.functions_host.ncrontab import Schedule

# .NET's empty DateTime: the timer has not run yet.
NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    last: datetime = NEVER
    next: datetime
    updated: datetime

    def as_json(self) -> dict[str, str]:
        """The form Python gets in `ScheduleStatus`, which is also the form on disk."""
        return {
            "Last": self.last.isoformat(),
            "Next": self.next.isoformat(),
            "LastUpdated": self.updated.isoformat(),
        }

    def fits(self, schedule: Schedule) -> bool:
        """False when the schedule was changed since: then nothing was missed (the extension's CheckPastDue)."""
        return schedule.after(self.updated if self.last == NEVER else self.last) == self.next


class StatusFiles:
    """`<folder>/timers/<function>.json`, in place of Azure's blobs; without a folder nothing is remembered."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder / "timers" if folder else None

    def read(self, name: str) -> Status | None:
        """None when the timer never started here, or what stands there cannot be read."""
        if self._folder is None:
            return None
        try:
            told = json.loads((self._folder / f"{name}.json").read_text())
            last, next_, updated = (datetime.fromisoformat(told[key]) for key in ("Last", "Next", "LastUpdated"))
            if not (last.tzinfo and next_.tzinfo and updated.tzinfo):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Status(last=last, next=next_, updated=updated)

    def write(self, name: str, status: Status) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._folder / f"{name}.json.new"
        draft.write_text(json.dumps(status.as_json()))
        draft.replace(self._folder / f"{name}.json")
