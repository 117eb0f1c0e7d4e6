"""What an attempt changes (facts/svix.md §2: Outcome, Retry schedule, Status, Auto-disable; §3)."""

import logging
from dataclasses import dataclass, replace

from devstack.svix_server import attempt, clock, endpoint, ids
from devstack.svix_server.attempt import Status, Trigger
from devstack.svix_server.delivery import Delivery
from devstack.svix_server.endpoint import Endpoint
from devstack.svix_server.operational import OperationalWebhooks
from devstack.svix_server.retry import first_failure, retry_delay
from devstack.svix_server.settings import Settings
from devstack.svix_server.store import Store
from devstack.svix_server.task_queue import Task, TaskQueue
from devstack.svix_server.webhook_client import WebhookResponse

_FAILING_AFTER = 4

_log = logging.getLogger("svix.delivery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt that was made."""

    id: str
    at: int
    delivery: Delivery
    response: WebhookResponse


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Attempt, status, next task and operational webhooks go in one transaction."""

    store: Store
    queue: TaskQueue
    operational: OperationalWebhooks
    settings: Settings

    def record(self, delivery: Delivery, at: int, response: WebhookResponse) -> None:
        made = Attempt(id=ids.new_id(ids.ATTEMPT, at), at=at, delivery=delivery, response=response)
        with self.store.transaction():
            self.queue.remove(delivery.task)
            self._insert(made)
            if response.succeeded:
                verdict = self._succeeded(made)
            elif delivery.task.trigger is Trigger.MANUAL:
                verdict = self._failed_manually(made)
            else:
                verdict = self._failed(made)
        self.store.after_commit(lambda: _log_line(made, verdict))

    def drop(self, task: Task) -> None:
        """It is not made after all; a planned retry keeps its time and goes on showing as sending."""
        with self.store.transaction():
            self.queue.remove(task)
        self.store.after_commit(lambda: _log.info("%s endpoint=%s outcome=dropped", task.msg_id, task.endpoint_id))

    def _succeeded(self, made: Attempt) -> str:
        delivery = made.delivery
        self._stand(made, Status.SUCCESS, "next_attempt = NULL, succeeded = 1")
        self._remember_failure(delivery.endpoint, None)
        if self._is_scheduled(made) and delivery.task.attempt_count >= _FAILING_AFTER:
            self._tell(made, "message.attempt.recovered")
        return "success"

    def _failed_manually(self, made: Attempt) -> str:
        """Never tried again; final only if no retry is planned."""
        self._stand(made, Status.FAIL, "failed = failed OR next_attempt IS NULL")
        return "fail"

    def _failed(self, made: Attempt) -> str:
        count = made.delivery.task.attempt_count
        delay = self._delay(made)
        if delay is None:
            return self._exhausted(made)
        due = clock.now() + clock.from_seconds(delay)
        self._plan(made, due)
        if count + 1 == _FAILING_AFTER:
            self._tell(made, "message.attempt.failing")
        return f"fail retry_in={delay:.3f}s"

    def _delay(self, made: Attempt) -> float | None:
        if self._control(made) == "abort-message":
            return None
        return retry_delay(self.settings, made.delivery.task.attempt_count, made.response)

    def _plan(self, made: Attempt, due: int) -> None:
        task = made.delivery.task
        self._stand(made, Status.FAIL, "next_attempt = :due", due)
        self.queue.put(task.msg_id, task.endpoint_id, Trigger.SCHEDULED, task.attempt_count + 1, due)
        if self._control(made) == "disable":
            self._disable(made, clock.now())

    def _exhausted(self, made: Attempt) -> str:
        self._stand(made, Status.FAIL, "next_attempt = NULL, failed = 1")
        self._tell(made, "message.attempt.exhausted")
        failing = self._current(made.delivery)
        if failing is None or failing.disabled:
            return "exhausted"
        since, too_long = first_failure(self.settings, failing.first_failure_at, clock.now())
        self._remember_failure(failing, since)
        if too_long or self._control(made) == "disable":
            self._disable(made, since)
            return "exhausted,endpoint-disabled"
        return "exhausted"

    def _disable(self, made: Attempt, since: int) -> None:
        failing = self._current(made.delivery)
        if failing is None:
            return
        disabled = replace(failing.touched(), disabled=True, first_failure_at=since)
        endpoint.save(self.store.db, disabled)
        data = {
            "appId": made.delivery.app_id,
            "appUid": made.delivery.app_uid,
            "endpointId": failing.id,
            "endpointUid": None,
            "failSince": clock.rfc3339(since),
        }
        self.operational.send(made.delivery.org_id, "endpoint.disabled", data)

    def _control(self, made: Attempt) -> str | None:
        """What the receiver asks for, where obeying is switched on (the cloud does, svix-server does not)."""
        if not self.settings.delivery_control:
            return None
        return "disable" if made.response.status_code == 410 else made.response.delivery_control

    def _tell(self, made: Attempt, kind: str) -> None:
        delivery = made.delivery
        data: dict[str, object] = {
            "appId": delivery.app_id,
            "appUid": delivery.app_uid,
            "msgId": delivery.task.msg_id,
            "msgEventId": delivery.event_id,
            "endpointId": delivery.endpoint.id,
            "lastAttempt": {
                "id": made.id,
                "responseStatusCode": made.response.status_code,
                "timestamp": clock.rfc3339(made.at),
            },
        }
        self.operational.send(delivery.org_id, kind, data)

    def _insert(self, made: Attempt) -> None:
        delivery, response = made.delivery, made.response
        status = Status.SUCCESS if response.succeeded else Status.FAIL
        attempt.insert(
            self.store.db,
            (
                *(made.id, delivery.task.msg_id, delivery.endpoint.id, delivery.endpoint.url),
                *(response.body, response.status_code, response.duration_ms),
                *(status, delivery.task.trigger, made.at),
            ),
        )

    def _stand(self, made: Attempt, status: Status, change: str, due: int | None = None) -> None:
        task = made.delivery.task
        self.store.db.execute(
            f"UPDATE destination SET last_status = :status, {change}"  # noqa: S608 (fixed texts above)
            " WHERE endpoint_id = :endpoint_id AND msg_id = :msg_id",
            {"status": status, "due": due, "endpoint_id": task.endpoint_id, "msg_id": task.msg_id},
        )

    def _remember_failure(self, failing: Endpoint, since: int | None) -> None:
        self.store.db.execute(
            "UPDATE endpoint SET first_failure_at = ? WHERE id = ? AND first_failure_at IS NOT ?",
            (since, failing.id, since),
        )

    def _current(self, delivery: Delivery) -> Endpoint | None:
        """As it is now: it may have changed while the request was under way."""
        return endpoint.find(self.store.db, delivery.app_id, delivery.endpoint.id)

    def _is_scheduled(self, made: Attempt) -> bool:
        return made.delivery.task.trigger is Trigger.SCHEDULED


def _log_line(made: Attempt, verdict: str) -> None:
    task, response = made.delivery.task, made.response
    _log.info(
        "%s endpoint=%s attempt=%d trigger=%s status=%d ms=%d outcome=%s",
        task.msg_id,
        task.endpoint_id,
        task.attempt_count + 1,
        task.trigger.name.lower(),
        response.status_code,
        response.duration_ms,
        verdict,
    )
