"""What the index of an app says about its functions, read from the worker's metadata."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from devstack.functions_host.protos import RpcFunctionMetadata, RpcRetryOptions

Binding = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """`methods` empty means every method; `route`, `methods` and `auth_level` are for HTTP triggers."""

    name: str
    id: str
    bindings: tuple[Binding, ...]
    retry: RpcRetryOptions | None = None

    @classmethod
    def from_worker(cls, metadata: RpcFunctionMetadata) -> "Function":
        return cls(
            name=metadata.name,
            id=metadata.function_id,
            bindings=tuple(json.loads(text) for text in metadata.raw_bindings),
            retry=metadata.retry_options,
        )

    @property
    def triggers(self) -> list[Binding]:
        return [binding for binding in self.bindings if str(binding["type"]).lower().endswith("trigger")]

    @property
    def trigger(self) -> Binding:
        return self.triggers[0]

    @property
    def is_http(self) -> bool:
        return self._triggered_by("httptrigger")

    @property
    def is_timer(self) -> bool:
        return self._triggered_by("timertrigger")

    @property
    def route(self) -> str:
        """The template without the prefix; a function without one is served under its own name."""
        return str(self.trigger.get("route") or self.name).strip("/")

    @property
    def methods(self) -> frozenset[str]:
        return frozenset(str(method).upper() for method in self.trigger.get("methods") or ())

    @property
    def auth_level(self) -> str:
        return str(self.trigger.get("authLevel") or "FUNCTION").upper()

    def shares_a_method_with(self, other: "Function") -> bool:
        return not self.methods or not other.methods or bool(self.methods & other.methods)

    def _triggered_by(self, kind: str) -> bool:
        return len(self.triggers) == 1 and str(self.trigger["type"]).lower() == kind


def in_host_order(functions: list[Function]) -> Iterator[Function]:
    """By name, as .NET's OrdinalIgnoreCase has it: in upper case, so `_` sorts after every letter (facts section 1)."""
    return iter(sorted(functions, key=lambda function: function.name.upper()))
