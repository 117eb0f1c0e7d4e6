"""The description and the gateway agree: schemathesis makes requests from the one, and judges the other by it."""

import os
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks as judged

from tests.functions.stack import Connect, Connected, Headers, Receiver, Stack, publish, register

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
"""Per operation, key and kind. Unless told otherwise the same ones in every run."""
CHECKS = [
    judged.status_code_conformance,
    judged.content_type_conformance,
    judged.response_schema_conformance,
    judged.response_headers_conformance,
]
"""Not that what breaks the schema is refused: an unknown query parameter, say, does no harm here."""


@pytest.fixture(scope="module")
def described(stack: Stack) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_dict(httpx.get(f"{stack.url}/api/openapi.json").json())


@pytest.fixture
def partner(connect: Connect) -> Connected:
    """One for this test alone, which may change, empty or remove it."""
    return connect()


@pytest.fixture(params=["admin", "partner"])
def key(request: pytest.FixtureRequest, stack: Stack, partner: Connected) -> Headers:
    return {"admin": stack.admin, "partner": partner.key}[request.param]


@pytest.fixture
def real(api: httpx.Client, partner: Connected, receiver: Receiver) -> dict[str, str]:
    """Path parameters that lead somewhere."""
    endpoint = register(api, partner.key, receiver)
    publish(api, partner.key)
    (delivery,) = api.get("/api/webhooks/deliveries", headers=partner.key).json()["deliveries"]
    spare = api.post("/api/keys", json={"name": "spare"}, headers=partner.key).json()
    return {
        "partner_id": partner.id,
        "key_id": spare["key_id"],
        "endpoint_id": endpoint["endpoint_id"],
        "delivery_id": delivery["id"],
        "name": f"test.{uuid4().hex}",
        "resource": "orders",
        "asset": "page.js",
    }


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_every_answer_is_as_described(
    stack: Stack, described: schemathesis.BaseSchema, key: Headers, real: dict[str, str], mode: GenerationMode
) -> None:
    faults: dict[str, str] = {}
    for operation in operations(described):
        known = {name: value for name, value in real.items() if f"{{{name}}}" in operation.path}
        for path_parameters in (known, None) if known else (None,):
            faults |= judge(stack, operation, key, mode, path_parameters)
    assert not faults, "\n\n".join(f"{label}: {text}" for label, text in faults.items())


def operations(described: schemathesis.BaseSchema) -> Iterator[APIOperation]:
    for found in described.get_all_operations():
        assert isinstance(found, Ok), "an operation that schemathesis cannot read"
        yield found.ok()


def judge(
    stack: Stack, operation: APIOperation, key: Headers, mode: GenerationMode, known: dict[str, str] | None
) -> dict[str, str]:
    """What is wrong with an answer of this operation, under its name; nothing, when all were right."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(case=operation.as_strategy(mode, path_parameters=known))
    def ask(case: Case) -> None:
        answer = case.call(base_url=stack.url, headers=key)
        assume(answer.status_code != 400 or answer.content)  # the host's own, to a header that is no UTF-8
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        case.validate_response(answer, checks=CHECKS)

    try:
        ask()
    except (FailureGroup, AssertionError) as failure:
        return {operation.label: str(failure)}
    except Unsatisfiable:  # it takes nothing that could be wrong
        pass
    return {}
