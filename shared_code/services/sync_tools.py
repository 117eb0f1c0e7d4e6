"""What every sync works with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared_code.ports import Answers, Clock, Connector, Landing, Store
from shared_code.services.events import EventService
from shared_code.services.partner_reads import PartnerReads


class Lost(Exception):
    """The job is cancelled, or another worker's."""


@dataclass(frozen=True, slots=True)
class SyncTools:
    store: Store
    connectors: Mapping[str, Connector]
    reads: PartnerReads
    landing: Landing
    answers: Answers
    events: EventService
    now: Clock
    lease: timedelta
