"""OpenAPI 3.1, made from the registrations of `endpoint()` and the pydantic models they name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from functions.http import Access, Endpoint
from functions.replies import JSON, PROBLEM

PARAMETER = re.compile(r"\{\*?(\w+)[^}]*\}")
INTRODUCTION = """PinkSync is the gateway between a company and its partners.

Send your key as `Authorization: Bearer <api key>` or `X-API-Key: <api key>`. Every answer has an `X-Request-Id`;
every error is a problem document (RFC 9457) with a stable `code`. POSTs that create or send honour
`Idempotency-Key`. Lists take `limit` with `offset` or `cursor`."""
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem document.",
    "required": ["type", "title", "status", "detail", "code", "request_id", "error"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable, snake_case."},
        "request_id": {"type": "string"},
        "error": {"type": "string", "description": "Same as title."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
PARTNER_HEADER: dict[str, Any] = {
    "name": "X-Partner-Id",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "format": "uuid"},
    "description": "For a key of no partner: whom it acts for.",
}
LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "RateLimit-Policy", "RateLimit")


def document(endpoints: Sequence[Endpoint], version: str, server: str) -> bytes:
    schemas = Schemas.of(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for made in endpoints:
        for method in made.methods:
            paths.setdefault(path_of(made), {})[method.lower()] = operation(made, method, schemas)
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "PinkSync", "version": version, "description": INTRODUCTION},
            "servers": [{"url": server}],
            "paths": paths,
            "components": {
                "schemas": {**schemas.definitions, "Problem": PROBLEM_SCHEMA},
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer", "description": "Your API key."},
                    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                },
            },
        }
    )


@dataclass(frozen=True, slots=True)
class Schemas:
    """JSON schemas of all models, and where each model's own stands."""

    references: Mapping[Any, Mapping[str, Any]]
    definitions: Mapping[str, Any]

    @classmethod
    def of(cls, endpoints: Sequence[Endpoint]) -> "Schemas":
        asked = [(model, "validation") for made in endpoints for model in (made.body, made.query) if model]
        answered = [(made.answer, "serialization") for made in endpoints if made.answer]
        wanted: list[Any] = list(dict.fromkeys(asked + answered))
        references, defined = models_json_schema(wanted, ref_template="#/components/schemas/{model}")
        return cls(references, defined.get("$defs", {}))

    def reference(self, model: type[BaseModel], mode: JsonSchemaMode) -> Mapping[str, Any]:
        return self.references[model, mode]

    def properties(self, model: type[BaseModel]) -> Mapping[str, Any]:
        name = self.reference(model, "validation")["$ref"].rpartition("/")[2]
        return self.definitions[name]["properties"]


def operation(made: Endpoint, method: str, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": made.name if len(made.methods) == 1 else f"{made.name}_{method.lower()}",
        "tags": [made.tag],
        "summary": made.summary.split(". ")[0].rstrip("."),
        "description": describe(made),
        "parameters": [*path_parameters(made), *query_parameters(made, schemas), *header_parameters(made)],
        "responses": responses(made, schemas),
        "security": [] if made.access in (Access.OPEN, Access.SIGNED) else [{"bearer": []}, {"apiKey": []}],
    }
    if made.raw_body and method not in ("GET", "HEAD", "OPTIONS"):
        described["requestBody"] = {"required": False, "content": {JSON: {"schema": {}}}}
    if made.body:
        schema = schemas.reference(made.body, "validation")
        needed = bool(made.body.model_json_schema().get("required"))
        described["requestBody"] = {"required": needed, "content": {JSON: {"schema": schema}}}
    return described


def describe(made: Endpoint) -> str:
    who = {
        Access.OPEN: "Open to all.",
        Access.SIGNED: "Needs a valid signature.",
        Access.KEY: "Needs any valid key; a partner's key sees only its own.",
        Access.ADMIN: "Needs an admin key.",
        Access.METRICS: "Needs an admin key, or the metrics token as if it were one.",
    }
    scope = f" Needs the scope `{made.scope}`." if made.scope else ""
    return f"{made.summary}\n\n{who[made.access]}{scope}"


def path_of(made: Endpoint) -> str:
    return "/" + PARAMETER.sub(r"{\1}", made.route)


def path_parameters(made: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in PARAMETER.findall(made.route)
    ]


def query_parameters(made: Endpoint, schemas: Schemas) -> list[dict[str, Any]]:
    if made.query is None:
        return []
    return [
        {"name": name, "in": "query", "required": False, "schema": without_null(schema)}
        | ({"description": schema["description"]} if "description" in schema else {})
        for name, schema in schemas.properties(made.query).items()
    ]


def without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query parameter is left out, never null."""
    kept = {name: value for name, value in schema.items() if name not in ("anyOf", "title", "default", "description")}
    if schema.get("default") is not None:
        kept["default"] = schema["default"]
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            kept |= choice
    return kept


def header_parameters(made: Endpoint) -> list[dict[str, Any]]:
    named = [PARTNER_HEADER] if made.route.startswith("api/v1/") else []
    if not made.once:
        return named
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
    text = "The same key and request again: the stored answer."
    return [
        *named,
        {"name": "Idempotency-Key", "in": "header", "required": False, "schema": schema, "description": text},
    ]


def responses(made: Endpoint, schemas: Schemas) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(made.status).phrase, "headers": answer_headers(made)}
    if made.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.FOUND):
        good["content"] = content(made, schemas)
    found = {str(made.status): good}
    if made.name == "ready":
        found["503"] = good | {"description": "The gateway cannot serve."}
    if made.cached:
        found["304"] = {"description": "As it was when you got its `ETag`."}
    if "{*" in made.route:
        found["default"] = {"description": "Whatever the other side answered."}
    found |= {str(status): problem(status) for status in problems(made)}
    if made.page:
        found["400"]["content"] = {made.content_type: {}}
    return found


def content(made: Endpoint, schemas: Schemas) -> dict[str, Any]:
    """One with a model may answer in another form too."""
    model = {JSON: {"schema": schemas.reference(made.answer, "serialization")}} if made.answer else {}
    return {made.content_type: {}} | model


def problems(made: Endpoint) -> list[int]:
    """The statuses of problem documents that this route can answer."""
    asks_for_a_partner = made.query is not None and "partner_id" in made.query.model_fields
    passes_on = made.access is Access.KEY and (made.cached or made.raw_body)
    rules = (
        (made.access not in (Access.OPEN, Access.SIGNED), {401, 403, 429, 503}),
        (made.query or made.body, {400}),
        (made.body, {411, 413, 415, 422}),
        ("{" in made.route or made.body or asks_for_a_partner, {404}),
        (made.once, {400, 409, 422}),
        (made.methods in (("PATCH",), ("PUT",)), {409}),
        (made.access is Access.SIGNED, {400, 413, 503}),
        (passes_on, {400, 502, 504}),
        (passes_on and made.raw_body, {409, 411, 413, 415}),
    )
    return sorted({status for holds, statuses in rules if holds for status in statuses})


def problem(status: int) -> dict[str, Any]:
    content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def answer_headers(made: Endpoint) -> dict[str, Any]:
    names = ["X-Request-Id"]
    if made.access in (Access.KEY, Access.ADMIN):
        names += LIMIT_HEADERS
    return {name: {"schema": {"type": "string"}} for name in names}
