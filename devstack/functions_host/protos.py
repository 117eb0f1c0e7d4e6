"""Plain classes in place of the protobuf messages that Microsoft's worker library builds.

The library never imports protobuf: it takes an object with these attributes (facts section 9 item 6).
Calls go through `native_invocation`, which needs no message at all, so what is left is what start-up,
indexing and cookies use. Numbers are those of FunctionRpc.proto.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import ClassVar


@dataclass(slots=True, kw_only=True)
class RpcException:
    message: str = ""
    stack_trace: str = ""


class StatusResult:
    Failure = 0
    Success = 1

    def __init__(self, status: int = Failure, exception: RpcException | None = None) -> None:
        self.status = status
        self.exception = exception


@dataclass(slots=True, kw_only=True)
class WorkerMetadata:
    runtime_name: str
    runtime_version: str
    worker_version: str
    worker_bitness: str
    custom_properties: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class WorkerInitResponse:
    capabilities: Mapping[str, str]
    worker_metadata: WorkerMetadata
    result: StatusResult


class BindingInfo:
    undefined = 0
    out = 1
    inout = 2

    def __init__(self, type: str, data_type: int | None, direction: int | None) -> None:
        self.type = type
        self.data_type = data_type or self.undefined
        self.direction = direction or 0


@dataclass(slots=True, kw_only=True)
class RpcRetryOptions:
    """`retry_strategy` is "fixed_delay" or "exponential_backoff"; -1 retries never end."""

    max_retry_count: int
    retry_strategy: str
    delay_interval: timedelta | None = None
    minimum_interval: timedelta | None = None
    maximum_interval: timedelta | None = None


@dataclass(slots=True, kw_only=True)
class RpcFunctionMetadata:
    """One indexed function; `raw_bindings` are JSON texts, the form the host reads."""

    name: str
    raw_bindings: Sequence[str]
    function_id: str = ""
    managed_dependency_enabled: bool = False
    directory: str = ""
    script_file: str = ""
    entry_point: str = ""
    is_proxy: bool = False
    language: str = ""
    bindings: Mapping[str, BindingInfo] = field(default_factory=dict)
    retry_options: RpcRetryOptions | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class FunctionMetadataResponse:
    """`function_metadata_results` is None when the app has no functions."""

    use_default_metadata_indexing: bool
    function_metadata_results: Sequence[RpcFunctionMetadata] | None
    result: StatusResult


@dataclass(slots=True, kw_only=True)
class NullableString:
    value: str


@dataclass(slots=True, kw_only=True)
class NullableBool:
    value: bool


@dataclass(slots=True, kw_only=True)
class NullableDouble:
    value: float


@dataclass(slots=True, kw_only=True)
class Timestamp:
    seconds: int


@dataclass(slots=True, kw_only=True)
class NullableTimestamp:
    value: Timestamp


@dataclass(slots=True, kw_only=True)
class RpcHttpCookie:
    # "None" is a word of Python's own, so an ordinary class body cannot hold it.
    SameSite: ClassVar[SimpleNamespace] = SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})

    name: str
    value: str
    domain: NullableString | None = None
    path: NullableString | None = None
    expires: NullableTimestamp | None = None
    secure: NullableBool | None = None
    http_only: NullableBool | None = None
    same_site: int = 0
    max_age: NullableDouble | None = None
