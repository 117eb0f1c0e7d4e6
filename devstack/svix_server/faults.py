"""Faults that tests order under `/_devstack/faults`; a real Svix has nothing of the kind."""

import asyncio
import random
from enum import StrEnum
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from devstack.svix_server.reply import Reply


class OperationalFault(StrEnum):
    NORMAL = "normal"
    DROP = "drop"
    TWICE = "twice"


class Rule(BaseModel):
    """One fault: what happens, on which routes, how often.

    `status` and `hang_seconds` act instead of the request. `accept_then_status` and `accept_then_hang`
    let it take full effect first, so the caller never learns that it did.
    """

    model_config = ConfigDict(extra="forbid")

    status: Annotated[int, Field(ge=200, le=599)] | None = None
    hang_seconds: Annotated[float, Field(ge=0)] | None = None
    accept_then_status: Annotated[int, Field(ge=200, le=599)] | None = None
    accept_then_hang: Annotated[float, Field(ge=0)] | None = None
    routes: list[str] | str | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    probability: Annotated[float, Field(ge=0, le=1)] = 1
    seed: int | None = None
    headers: dict[str, str] = {}
    body: str | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> "Rule":
        effects = (self.status, self.hang_seconds, self.accept_then_status, self.accept_then_hang)
        if sum(effect is not None for effect in effects) != 1:
            raise ValueError("give exactly one of status, hang_seconds, accept_then_status, accept_then_hang")
        return self

    def concerns(self, route: str) -> bool:
        """`route` reads `POST /api/v1/app/{app_id}/msg`. No routes named: all but health."""
        if self.routes is None:
            return not route.startswith("GET /api/v1/health")
        return route in (self.routes if isinstance(self.routes, list) else [self.routes])

    async def instead(self) -> Reply | None:
        """The answer without doing anything; None if the request is to be served."""
        if self.hang_seconds is not None:
            await asyncio.sleep(self.hang_seconds)
            return self._answer(503)
        return None if self.status is None else self._answer(self.status)

    async def after(self, reply: Reply) -> Reply:
        """What is answered once the request has taken effect."""
        if self.accept_then_hang is not None:
            await asyncio.sleep(self.accept_then_hang)
        if self.accept_then_status is not None:
            return self._answer(self.accept_then_status)
        return reply

    def _answer(self, status: int) -> Reply:
        detail: object = "A fault ordered by a test."
        if status == 422:
            detail = [{"loc": ["fault"], "msg": detail, "type": "injected_fault"}]
        body = orjson.dumps({"code": "injected_fault", "detail": detail})
        return Reply(status=status, body=body if self.body is None else self.body.encode(), headers=self.headers)


class FaultsIn(BaseModel):
    """Replaces every fault there is. The fields of a single rule may stand at the top, without `rules`."""

    model_config = ConfigDict(extra="forbid")

    rules: list[Rule] = []
    operational_webhooks: OperationalFault = OperationalFault.NORMAL
    rotate_secret_204: bool = False

    @model_validator(mode="before")
    @classmethod
    def _gather_single_rule(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        single = {name: value for name, value in given.items() if name in Rule.model_fields}
        if not single:
            return given
        rest = {name: value for name, value in given.items() if name not in single}
        return rest | {"rules": [*rest.get("rules", []), single]}


class Faults:
    def __init__(self) -> None:
        self._ordered = FaultsIn()
        self._generators: list[random.Random] = []

    @property
    def operational(self) -> OperationalFault:
        return self._ordered.operational_webhooks

    @property
    def rotate_secret_204(self) -> bool:
        return self._ordered.rotate_secret_204

    def order(self, faults: FaultsIn) -> None:
        self._ordered = faults
        self._generators = [random.Random(rule.seed) for rule in faults.rules]  # noqa: S311 (a dice, no secret)

    def ordered(self) -> dict[str, object]:
        return self._ordered.model_dump(mode="json")

    def next_for(self, route: str) -> Rule | None:
        """The first rule that strikes this request; one use of it is spent."""
        for rule, generator in zip(self._ordered.rules, self._generators, strict=True):
            if not rule.concerns(route) or rule.times == 0:
                continue
            if generator.random() < rule.probability:
                if rule.times is not None:
                    rule.times -= 1
                return rule
        return None
