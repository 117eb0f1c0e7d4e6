"""The Svix-compatible server's applications and event types, through the official SDK (facts/svix.md §1)."""

import pytest
from svix.api import (
    ApplicationListOptions,
    EventTypeDeleteOptions,
    EventTypeListOptions,
    Svix,
)
from svix.exceptions import HttpError, HTTPValidationError
from svix.models import (
    ApplicationIn,
    ApplicationPatch,
    EventTypeIn,
    EventTypePatch,
    EventTypeUpsertIn,
    Ordering,
)

from devstack.svix_server.testing.process import RunningServer, an_organization
from devstack.svix_server.testing.sdk import flaw


class TestApplications:
    def test_an_application_is_created_read_changed_and_deleted(self, svix: Svix):
        made = svix.application.create(ApplicationIn(name="Ä", uid="u-1", throttle_rate=5, metadata={"a": "b"}))
        assert made.id.startswith("app_")
        assert (made.name, made.uid, made.throttle_rate, made.metadata) == ("Ä", "u-1", 5, {"a": "b"})
        assert svix.application.get("u-1") == svix.application.get(made.id) == made
        changed = svix.application.patch("u-1", ApplicationPatch(name="B", uid=None, throttle_rate=None))
        assert (changed.name, changed.uid, changed.throttle_rate, changed.metadata) == ("B", None, None, {"a": "b"})
        assert changed.updated_at > made.updated_at
        svix.application.delete(made.id)
        with pytest.raises(HttpError) as refused:
            svix.application.get(made.id)
        assert (refused.value.status_code, refused.value.code) == (404, "not_found")
        assert refused.value.detail == "Entity not found"

    def test_a_taken_uid_is_a_conflict_until_its_application_is_deleted(self, svix: Svix):
        made = svix.application.create(ApplicationIn(name="a", uid="taken"))
        with pytest.raises(HttpError) as refused:
            svix.application.create(ApplicationIn(name="b", uid="taken"))
        assert (refused.value.status_code, refused.value.code) == (409, "conflict")
        assert refused.value.detail == "An application with that id or uid already exists"
        svix.application.delete("taken")
        assert svix.application.create(ApplicationIn(name="b", uid="taken")).id != made.id

    def test_get_or_create_gives_the_stored_application_unchanged(self, svix: Svix):
        made = svix.application.get_or_create(ApplicationIn(name="first", uid="same"))
        assert svix.application.get_or_create(ApplicationIn(name="second", uid="same")) == made
        without_uid = [svix.application.get_or_create(ApplicationIn(name="x")).id for _ in range(2)]
        assert without_uid[0] != without_uid[1]

    def test_upsert_replaces_or_creates_without_taking_the_uid_from_the_path(self, svix: Svix):
        made = svix.application.upsert("unknown", ApplicationIn(name="new", metadata={"k": "v"}))
        assert made.uid is None
        replaced = svix.application.upsert(made.id, ApplicationIn(name="replaced"))
        assert (replaced.id, replaced.name, replaced.metadata) == (made.id, "replaced", {})

    def test_equal_uids_in_two_organisations_do_not_clash(self, server: RunningServer, svix: Svix):
        svix.application.create(ApplicationIn(name="a", uid="shared"))
        with server.client(an_organization()) as other:
            assert other.application.list().data == []
            other.application.create(ApplicationIn(name="b", uid="shared"))

    @pytest.mark.parametrize("uid", ["a b", "app_123", "x" * 257, "ü", ""])
    def test_a_bad_uid_is_refused(self, svix: Svix, uid: str):
        with pytest.raises(HTTPValidationError) as refused:
            svix.application.create(ApplicationIn(name="a", uid=uid))
        loc, _, kind = flaw(refused.value)
        assert (loc, kind) == (["body", "uid"], "value_error")

    def test_pages_lead_forth_and_back(self, svix: Svix):
        made = [svix.application.create(ApplicationIn(name=str(n))).id for n in range(5)]
        first = svix.application.list(ApplicationListOptions(limit=2))
        second = svix.application.list(ApplicationListOptions(limit=2, iterator=first.iterator))
        third = svix.application.list(ApplicationListOptions(limit=2, iterator=second.iterator))
        pages = [[app.id for app in page.data] for page in (first, second, third)]
        assert pages == [made[:2], made[2:4], made[4:]]
        assert [page.done for page in (first, second, third)] == [False, False, True]
        assert (first.iterator, first.prev_iterator) == (made[1], "-" + made[0])
        back = svix.application.list(ApplicationListOptions(limit=2, iterator=third.prev_iterator))
        assert ([app.id for app in back.data], back.done) == (made[2:4], False)
        start = svix.application.list(ApplicationListOptions(limit=2, iterator=back.prev_iterator))
        assert ([app.id for app in start.data], start.done) == (made[:2], True)
        newest = svix.application.list(ApplicationListOptions(limit=1, order=Ordering.DESCENDING))
        assert [app.id for app in newest.data] == made[4:]

    def test_an_empty_page_has_no_iterators(self, svix: Svix):
        page = svix.application.list()
        assert (page.data, page.iterator, page.prev_iterator, page.done) == ([], None, None, True)

    def test_too_large_a_limit_and_a_foreign_iterator_are_refused(self, svix: Svix):
        with pytest.raises(HTTPValidationError) as refused:
            svix.application.list(ApplicationListOptions(limit=251))
        assert flaw(refused.value) == (["query", "limit"], "Given limit must not exceed 250", "value_error")
        with pytest.raises(HTTPValidationError) as refused:
            svix.application.list(ApplicationListOptions(iterator="ep_1"))
        assert flaw(refused.value)[0] == ["query", "iterator"]


class TestEventTypes:
    def test_an_event_type_is_archived_revived_and_expunged(self, svix: Svix):
        schemas = {"1": {"type": "object", "examples": [{"a": 1}]}}
        made = svix.event_type.create(EventTypeIn(name="a.b", description="d", schemas=schemas))
        assert (made.archived, made.deprecated, made.schemas) == (False, False, schemas)
        with pytest.raises(HttpError) as refused:
            svix.event_type.create(EventTypeIn(name="a.b", description="again"))
        assert (refused.value.status_code, refused.value.code) == (409, "event_type_exists")
        svix.event_type.delete("a.b")
        assert svix.event_type.list().data == []
        assert svix.event_type.get("a.b").archived is True
        archived = svix.event_type.list(EventTypeListOptions(include_archived=True, with_content=True))
        assert [(one.name, one.schemas) for one in archived.data] == [("a.b", schemas)]
        revived = svix.event_type.create(EventTypeIn(name="a.b", description="new"))
        assert (revived.archived, revived.description, revived.schemas) == (False, "new", None)
        svix.event_type.delete("a.b", EventTypeDeleteOptions(expunge=True))
        with pytest.raises(HttpError):
            svix.event_type.get("a.b")

    def test_upsert_and_patch(self, svix: Svix):
        svix.event_type.upsert("up", EventTypeUpsertIn(description="one", schemas={"1": {"type": "object"}}))
        patched = svix.event_type.patch("up", EventTypePatch(deprecated=True, schemas=None))
        assert (patched.description, patched.deprecated, patched.schemas) == ("one", True, None)
        assert svix.event_type.upsert("up", EventTypeUpsertIn(description="two")).deprecated is False

    def test_a_schema_that_is_none_is_refused(self, svix: Svix):
        with pytest.raises(HTTPValidationError) as refused:
            svix.event_type.create(EventTypeIn(name="x", description="", schemas={"1": {"type": "nonsense"}}))
        assert flaw(refused.value)[0] == ["body", "schemas"]

    def test_the_list_is_by_name(self, svix: Svix):
        for name in ("c", "a", "b"):
            svix.event_type.create(EventTypeIn(name=name, description=""))
        first = svix.event_type.list(EventTypeListOptions(limit=2))
        assert ([one.name for one in first.data], first.iterator) == (["a", "b"], "b")
        second = svix.event_type.list(EventTypeListOptions(limit=2, iterator=first.iterator))
        assert [one.name for one in second.data] == ["c"]
        back = svix.event_type.list(EventTypeListOptions(limit=2, iterator=second.prev_iterator))
        assert [one.name for one in back.data] == ["a", "b"]
