"""How each resource of a partner is read, and when: configured by an admin."""

from typing import Annotated, Any, Self

import azure.functions as func
from pydantic import ConfigDict, Field, StringConstraints, model_validator

from functions.http import Access, Call, Nothing, Reply, endpoint
from functions.schemas import AnswerBody, EventTypeName, ListAnswer, Moment, PageQuery, RequestBody
from shared_code.model import CursorKind, CursorRule, Paging, PagingStyle, Reading, Source

bp = func.Blueprint()

type Member = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f]*$")]
type Parameter = Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9_\-.\[\]]*$")]
type Path = Annotated[str, StringConstraints(max_length=500, pattern=r"^[A-Za-z0-9_\-./~]*$")]
PARAMETERS = {
    PagingStyle.PAGE: ("page", "per_page"),
    PagingStyle.OFFSET: ("offset", "limit"),
    PagingStyle.CURSOR: ("cursor", "limit"),
    PagingStyle.LINK: ("", "per_page"),
    PagingStyle.NONE: ("", ""),
}
"""What most APIs call the parameter for the page, and for its size."""


class PagingBody(RequestBody):
    model_config = ConfigDict(from_attributes=True)

    style: PagingStyle = Field(default=PagingStyle.CURSOR, strict=False)
    size: int = Field(default=1000, ge=1, le=5000, description="Records asked for at once.")
    param: Parameter | None = Field(default=None, description="Default: `page`, `offset` or `cursor`, by style.")
    size_param: Parameter | None = Field(default=None, description="Default: `per_page` or `limit`, by style.")
    next: Member = Field(default="next_cursor", description="Where the next cursor stands in an answer.")

    def paging(self) -> Paging:
        param, size_param = PARAMETERS[self.style]
        return Paging(
            style=self.style,
            size=self.size,
            param=param if self.param is None else self.param,
            size_param=size_param if self.size_param is None else self.size_param,
            next=self.next,
        )


class CursorBody(RequestBody):
    model_config = ConfigDict(from_attributes=True)

    field: Member = Field(default="updated_at", min_length=1)
    param: Parameter = Field(default="updated_since", min_length=1)
    kind: CursorKind = Field(default=CursorKind.TIME, strict=False)
    lag_seconds: int = Field(default=0, ge=0, le=86_400, description="Asked for again from so long before.")


class PublishBody(RequestBody):
    created: EventTypeName | None = None
    updated: EventTypeName | None = None
    deleted: EventTypeName | None = None


class SourceBody(RequestBody):
    connector: str = Field(default="rest", max_length=64)
    path: Path | None = Field(default=None, description="Below the partner's api_endpoint. Default: the resource.")
    query: dict[Parameter, Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=dict, max_length=20, description="Sent with every request."
    )
    paging: PagingBody = Field(default_factory=PagingBody)
    items: Member = Field(default="data", description="Where the records stand; empty: the answer is the list.")
    total: Member = Field(default="total", description="Where the number of records stands, if anywhere.")
    key: Member = Field(default="id", min_length=1, description="The natural key of a record.")
    fields: dict[Member, Member] = Field(
        default_factory=dict, max_length=200, description="Ours → theirs. Empty: every member as it is."
    )
    cursor: CursorBody | None = Field(
        default_factory=CursorBody, description="Null: the partner cannot tell what changed."
    )
    delete_missing: bool = Field(default=True, description="A full sync deletes what it does not find any more.")
    publish: PublishBody = Field(default_factory=PublishBody, description="Event types for what changed.")
    schedule_seconds: int | None = Field(default=None, ge=1, le=31_536_000, description="Null: only when asked.")
    full_every_seconds: int | None = Field(default=None, ge=1, le=31_536_000, description="Null: only the first.")

    @model_validator(mode="after")
    def usable(self) -> Self:
        paging = self.paging.paging()
        if paging.style in (PagingStyle.PAGE, PagingStyle.OFFSET, PagingStyle.CURSOR) and not paging.param:
            raise ValueError("paging.param may not be empty with this style")
        if {".", ".."} & set((self.path or "").split("/")):
            raise ValueError("path may not have `.` or `..` segments")
        return self

    def reading(self, resource: str) -> Reading:
        same = ("connector", "query", "items", "total", "key", "fields", "delete_missing", "full_every_seconds")
        return Reading(
            **{name: getattr(self, name) for name in same},
            path=resource if self.path is None else self.path,
            paging=self.paging.paging(),
            cursor=CursorRule(**self.cursor.model_dump()) if self.cursor else None,
            publish=self.publish.model_dump(exclude_none=True),
        )


class SourceAnswer(AnswerBody):
    resource: str
    connector: str
    path: str
    query: dict[str, str]
    paging: PagingBody
    items: str
    total: str
    key: str
    fields: dict[str, str]
    cursor: CursorBody | None
    delete_missing: bool
    publish: dict[str, str]
    schedule_seconds: int | None
    full_every_seconds: int | None
    read_up_to: str | None = Field(description="The cursor of the last sync.")
    failures: int = Field(description="Failed jobs in a row.")
    failing_since: Moment | None
    disabled_at: Moment | None = Field(description="Switched off after many failures; configure it to switch it on.")
    next_run_at: Moment | None
    last_full_at: Moment | None
    updated_at: Moment


class SourcesAnswer(ListAnswer):
    sources: list[SourceAnswer]


@endpoint(
    bp,
    "PUT",
    "api/partners/{partner_id}/sync/{resource}",
    access=Access.ADMIN,
    tag="Sync",
    body=SourceBody,
    answer=SourceAnswer,
)
async def sync_sources_put(call: Call[SourceBody]) -> Reply:
    """Say how a resource of a partner is read, and how often. Read in another way, it is read from the beginning."""
    partner_id, resource = call.request.uuid("partner_id"), call.path["resource"]
    reading = call.body.reading(resource)
    schedule = call.body.schedule_seconds
    source = await call.gateway.sync_sources.put(call.caller, partner_id, resource, reading, schedule)
    return Reply(model=shown(source))


@endpoint(bp, "GET", "api/partners/{partner_id}/sync/{resource}", access=Access.ADMIN, tag="Sync", answer=SourceAnswer)
async def sync_sources_get(call: Call) -> Reply:
    """How a resource of a partner is read, and how far."""
    partner_id = call.request.uuid("partner_id")
    return Reply(model=shown(await call.gateway.sync_sources.get(partner_id, call.path["resource"])))


@endpoint(
    bp,
    "GET",
    "api/partners/{partner_id}/sync",
    access=Access.ADMIN,
    tag="Sync",
    query=PageQuery,
    answer=SourcesAnswer,
)
async def sync_sources_list(call: Call[Nothing, PageQuery]) -> Reply:
    """Every resource of a partner that is synced."""
    found = await call.gateway.sync_sources.list(call.caller, call.request.uuid("partner_id"))
    return Reply(model=SourcesAnswer.cut("sources", found, call.query.page(), shown))


@endpoint(bp, "DELETE", "api/partners/{partner_id}/sync/{resource}", access=Access.ADMIN, tag="Sync", status=204)
async def sync_sources_remove(call: Call) -> Reply:
    """Forget how a resource is read; it is not scheduled any more. What has landed stays."""
    await call.gateway.sync_sources.remove(call.caller, call.request.uuid("partner_id"), call.path["resource"])
    return Reply(status=204)


def shown(source: Source) -> SourceAnswer:
    reading: dict[str, Any] = {name: getattr(source.reading, name) for name in Reading.__dataclass_fields__}
    state = (
        "resource",
        "schedule_seconds",
        "failing_since",
        "disabled_at",
        "next_run_at",
        "last_full_at",
        "updated_at",
    )
    return SourceAnswer(
        **{name: value for name, value in reading.items() if name not in ("paging", "cursor")},
        **{name: getattr(source, name) for name in state},
        paging=PagingBody.model_validate(source.reading.paging),
        cursor=CursorBody.model_validate(source.reading.cursor) if source.reading.cursor else None,
        read_up_to=source.cursor,
        failures=source.streak,
    )
