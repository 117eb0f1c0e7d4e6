"""The system of record in memory, for tests and trials: every promise of the port, but gone with the process."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from shared_code import errors
from shared_code.adapters.memory_api_keys import MemoryApiKeys
from shared_code.adapters.memory_audit import MemoryAuditTrail, MemoryChainHeads
from shared_code.adapters.memory_deliveries import MemoryDeliveries, Watched
from shared_code.adapters.memory_endpoints import MemoryEndpoints
from shared_code.adapters.memory_events import MemoryEvents, MemoryEventTypes
from shared_code.adapters.memory_figures import MemoryFigures
from shared_code.adapters.memory_inbox import MemoryInboundSecrets, MemoryInbox, Received, Written
from shared_code.adapters.memory_oauth import (
    MemoryOAuthConnections,
    MemoryOAuthLinks,
    MemoryOAuthProviders,
    MemoryOAuthStates,
)
from shared_code.adapters.memory_outbox import Debt, MemoryOutbox
from shared_code.adapters.memory_partners import MemoryPartners
from shared_code.adapters.memory_publications import MemoryPublications
from shared_code.adapters.memory_replies import Kept, MemoryReplies, Name
from shared_code.adapters.memory_retention import MemoryRetention
from shared_code.adapters.memory_reviews import MemoryReviews
from shared_code.adapters.memory_rows import Locks, Session, Table, View
from shared_code.adapters.memory_sealed import MemorySealed, of_partner, of_replies
from shared_code.adapters.memory_sync import Kept as KeptRecord
from shared_code.adapters.memory_sync import MemorySyncRecords, MemorySyncSources
from shared_code.adapters.memory_sync_jobs import MemorySyncJobs, Place
from shared_code.adapters.memory_users import MemoryUsers
from shared_code.model import (
    ApiKey,
    Attempt,
    AuditEntry,
    ChainHead,
    Endpoint,
    Event,
    EventType,
    InboundSecret,
    Job,
    OAuthConnection,
    OAuthLink,
    OAuthProvider,
    OAuthState,
    Partner,
    Quarantined,
    RecordName,
    Review,
    ReviewKind,
    Source,
    User,
)
from shared_code.ports import Action, Clock, Transaction


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True, eq=False)
class Tables:
    partners: Table[UUID, Partner] = field(default_factory=Table[UUID, Partner])
    keys: Table[str, ApiKey] = field(default_factory=Table[str, ApiKey])
    endpoints: Table[str, Endpoint] = field(default_factory=Table[str, Endpoint])
    svix_ids: Table[str, str] = field(default_factory=Table[str, str])
    event_types: Table[str, EventType] = field(default_factory=Table[str, EventType])
    events: Table[tuple[UUID, str], Event] = field(default_factory=Table[tuple[UUID, str], Event])
    deliveries: Table[UUID, Watched] = field(default_factory=Table[UUID, Watched])
    opened: Table[tuple[UUID, str, str], UUID] = field(default_factory=Table[tuple[UUID, str, str], UUID])
    tries: Table[str, tuple[UUID, Attempt]] = field(default_factory=Table[str, tuple[UUID, Attempt]])
    debts: Table[int, Debt] = field(default_factory=Table[int, Debt])
    entries: Table[UUID, AuditEntry] = field(default_factory=Table[UUID, AuditEntry])
    heads: Table[str, ChainHead] = field(default_factory=Table[str, ChainHead])
    replies: Table[Name, Kept] = field(default_factory=Table[Name, Kept])
    users: Table[str, User] = field(default_factory=Table[str, User])
    reviews: Table[UUID, Review] = field(default_factory=Table[UUID, Review])
    subjects: Table[tuple[ReviewKind, str], UUID] = field(default_factory=Table[tuple[ReviewKind, str], UUID])
    received: Table[int, Received] = field(default_factory=Table[int, Received])
    messages: Table[tuple[UUID, str], bool] = field(default_factory=Table[tuple[UUID, str], bool])
    records: Table[RecordName, Written] = field(default_factory=Table[RecordName, Written])
    inbound_secrets: Table[int, InboundSecret] = field(default_factory=Table[int, InboundSecret])
    oauth_providers: Table[UUID, OAuthProvider] = field(default_factory=Table[UUID, OAuthProvider])
    oauth_links: Table[bytes, OAuthLink] = field(default_factory=Table[bytes, OAuthLink])
    oauth_states: Table[bytes, OAuthState] = field(default_factory=Table[bytes, OAuthState])
    connections: Table[UUID, OAuthConnection] = field(default_factory=Table[UUID, OAuthConnection])
    jobs: Table[UUID, Job] = field(default_factory=Table[UUID, Job])
    latest: Table[Place, UUID] = field(default_factory=Table[Place, UUID])
    fences: Table[int, bool] = field(default_factory=Table[int, bool])
    sources: Table[tuple[UUID, str], Source | None] = field(default_factory=Table[tuple[UUID, str], Source | None])
    known: Table[tuple[UUID, str, str], KeptRecord] = field(default_factory=Table[tuple[UUID, str, str], KeptRecord])
    set_aside: Table[UUID, Quarantined] = field(default_factory=Table[UUID, Quarantined])

    def seen_by(self, session: Session, clock: Clock, after_commit: Callable[[Action], None]) -> Transaction:
        partners = View(self.partners, session)
        endpoints, tries = View(self.endpoints, session), View(self.tries, session)
        stored = View(self.events, session)
        events = MemoryEvents(stored, partners)
        outbox = MemoryOutbox(View(self.debts, session), partners)
        deliveries = MemoryDeliveries(
            View(self.deliveries, session), View(self.opened, session), tries, stored, endpoints
        )
        replies, inbound_secrets = View(self.replies, session), View(self.inbound_secrets, session)
        providers, states = View(self.oauth_providers, session), View(self.oauth_states, session)
        connections = View(self.connections, session)
        sealed = {
            "partners.credentials": of_partner(partners, "credentials_encrypted"),
            "webhook_endpoints.secret": of_partner(endpoints, "secret_encrypted"),
            "inbound_secrets.secret": of_partner(inbound_secrets, "secret_encrypted"),
            "oauth_providers.client_secret": of_partner(providers, "client_secret_encrypted"),
            "oauth_states.verifier": of_partner(states, "verifier_encrypted"),
            "oauth_connections.access_token": of_partner(connections, "access_token_encrypted"),
            "oauth_connections.refresh_token": of_partner(connections, "refresh_token_encrypted"),
            "idempotency_replies.body": of_replies(replies),
        }
        jobs = View(self.jobs, session)
        return Transaction(
            partners=MemoryPartners(partners),
            keys=MemoryApiKeys(View(self.keys, session), partners),
            endpoints=MemoryEndpoints(endpoints, View(self.svix_ids, session), partners),
            event_types=MemoryEventTypes(View(self.event_types, session)),
            events=events,
            publications=MemoryPublications(events, deliveries, outbox, partners),
            deliveries=deliveries,
            outbox=outbox,
            audit=MemoryAuditTrail(View(self.entries, session)),
            audit_heads=MemoryChainHeads(View(self.heads, session)),
            replies=MemoryReplies(replies, clock),
            users=MemoryUsers(View(self.users, session)),
            reviews=MemoryReviews(View(self.reviews, session), View(self.subjects, session), partners),
            inbox=MemoryInbox(
                View(self.received, session), View(self.messages, session), partners, View(self.records, session)
            ),
            inbound_secrets=MemoryInboundSecrets(inbound_secrets, partners),
            retention=self._retention(session, stored, tries),
            sealed=MemorySealed(sealed),
            oauth_providers=MemoryOAuthProviders(providers, partners),
            oauth_links=MemoryOAuthLinks(View(self.oauth_links, session), partners),
            oauth_states=MemoryOAuthStates(states, partners),
            connections=MemoryOAuthConnections(connections, partners),
            jobs=MemorySyncJobs(jobs, View(self.latest, session), View(self.fences, session), partners),
            sources=MemorySyncSources(View(self.sources, session), partners),
            records=MemorySyncRecords(View(self.known, session), View(self.set_aside, session), jobs, partners),
            figures=self._figures(session, partners, clock),
            after_commit=after_commit,
        )

    def _figures(self, session: Session, partners: View[UUID, Partner], clock: Clock) -> MemoryFigures:
        return MemoryFigures(
            partners=partners,
            debts=View(self.debts, session),
            received=View(self.received, session),
            reviews=View(self.reviews, session),
            deliveries=View(self.deliveries, session),
            clock=clock,
        )

    def _retention(
        self,
        session: Session,
        events: View[tuple[UUID, str], Event],
        tries: View[str, tuple[UUID, Attempt]],
    ) -> MemoryRetention:
        return MemoryRetention(
            replies=View(self.replies, session),
            debts=View(self.debts, session),
            received=View(self.received, session),
            messages=View(self.messages, session),
            events=events,
            deliveries=View(self.deliveries, session),
            opened=View(self.opened, session),
            tries=tries,
            reviews=View(self.reviews, session),
            subjects=View(self.subjects, session),
            oauth_links=View(self.oauth_links, session),
            oauth_states=View(self.oauth_states, session),
            inbound_secrets=View(self.inbound_secrets, session),
            records=View(self.records, session),
            known=View(self.known, session),
            partners=View(self.partners, session),
            oauth_providers=View(self.oauth_providers, session),
            connections=View(self.connections, session),
        )


@dataclass(slots=True, eq=False)
class MemoryStore:
    """Serves one event loop. Stricter than a database in one thing: `reading()` refuses to write."""

    clock: Clock = utc_now
    down: bool = False
    """Set it to see what happens when the database cannot be reached."""
    _tables: Tables = field(default_factory=Tables)
    _locks: Locks = field(default_factory=Locks)
    _open: ContextVar[tuple[Session, Transaction] | None] = field(
        default_factory=lambda: ContextVar("pinksync_memory_transaction", default=None)
    )

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        joined = self._joined()
        return already(joined) if joined else self._begin()

    def single(self) -> AbstractAsyncContextManager[Transaction]:
        return self.transaction()

    def inside(self) -> bool:
        return self._joined() is not None

    def reading(self) -> AbstractAsyncContextManager[Transaction]:
        joined = self._joined()
        return already(joined) if joined else self._read()

    def _joined(self) -> Transaction | None:
        """None for a task that outlived the transaction it was started in."""
        session, transaction = self._open.get() or (None, None)
        return transaction if session and not session.ended else None

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[Transaction]:
        self._reach()
        actions: list[Action] = []
        session = Session(self._locks, self._reach)
        transaction = self._tables.seen_by(session, self.clock, actions.append)
        token = self._open.set((session, transaction))
        try:
            yield transaction
            session.commit()
        finally:
            self._open.reset(token)
            session.end()
        for action in actions:
            await action()

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[Transaction]:
        self._reach()
        yield self._tables.seen_by(Session(self._locks, self._reach, read_only=True), self.clock, not_here)

    async def ping(self) -> None:
        self._reach()

    async def close(self) -> None:
        """Nothing to close; what was stored stays."""

    def _reach(self) -> None:
        if self.down:
            raise errors.StoreUnavailable(headers={"Retry-After": "5"})


def not_here(action: Action) -> None:
    raise RuntimeError("a read commits nothing; open a transaction")


@asynccontextmanager
async def already(transaction: Transaction) -> AsyncGenerator[Transaction]:
    """The transaction that is open; whoever opened it ends it."""
    yield transaction
