"""A delivery that failed for good has one review, which a person resolves, with a replay or without."""

from uuid import UUID, uuid4

import httpx

from tests.functions.deliveries.log import delivery_in, delivery_of, exhausted, resolve, retry, reviews
from tests.functions.stack import Connected, Headers, Receiver, refused, register
from tests.services import eventually


def test_an_exhausted_delivery_is_reviewed_once_replayed_and_delivered(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, review = exhausted(api, admin, partner)
    assert UUID(review["review_id"])
    assert (review["kind"], review["partner_id"]) == ("delivery_exhausted", partner.id)
    assert "503" in review["reason"]
    assert [review[name] for name in ("note", "resolved_by", "resolved_at")] == [None] * 3
    assert reviews(api, admin, failed["id"], kind="delivery_exhausted", open=True) == [review]
    assert reviews(api, admin, failed["id"], kind="inbound_unroutable") == []

    receiver.tell(respond={"status": 204})
    resolved = resolve(api, admin, review, note="They fixed it ✓", replay=True)
    assert resolved.status_code == 200
    assert resolved.json().items() >= {"note": "They fixed it ✓", "reason": review["reason"]}.items()
    assert resolved.json()["resolved_by"]
    assert resolved.json()["resolved_at"] > review["created_at"]
    delivered = delivery_in(api, partner, failed["event_id"], "delivered")
    assert delivered["attempt_count"] == 3
    assert reviews(api, admin, failed["id"], open=True) == []
    assert reviews(api, admin, failed["id"]) == [resolved.json()]
    refused(resolve(api, admin, review, note="again"), 409, "conflict")


def test_resolving_without_a_replay_sends_nothing(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, review = exhausted(api, admin, partner)
    assert resolve(api, admin, review, note="not worth it").status_code == 200
    assert delivery_of(api, partner, failed["event_id"]) == failed
    assert len(receiver.received()) == 2


def test_a_failed_one_that_gets_there_after_all_needs_no_person(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, _review = exhausted(api, admin, partner)
    receiver.tell(respond={"status": 204})
    assert retry(api, partner.key, failed).status_code == 202
    delivery_in(api, partner, failed["event_id"], "delivered")
    (settled,) = reviews(api, admin, failed["id"])
    assert settled["resolved_at"]


def test_reviews_are_for_admins(api: httpx.Client, admin: Headers, partner: Connected) -> None:
    nothing = {"review_id": uuid4()}
    refused(api.get("/api/reviews", headers=partner.key), 403)
    refused(resolve(api, partner.key, nothing, note="x"), 403)
    refused(api.get("/api/reviews"), 401)
    refused(resolve(api, admin, nothing, note="x"), 404, "not_found")
    refused(resolve(api, admin, nothing), 422)
    refused(api.get("/api/reviews?kind=lost", headers=admin), 400)


def test_a_replay_that_fails_again_opens_the_review_again(
    api: httpx.Client, admin: Headers, partner: Connected, receiver: Receiver
) -> None:
    register(api, partner.key, receiver)
    receiver.tell(respond={"status": 503})
    failed, review = exhausted(api, admin, partner)
    assert resolve(api, admin, review, note="mended, I think", replay=True).status_code == 200
    eventually(lambda: reviews(api, admin, failed["id"], open=True))
    assert [each["review_id"] for each in reviews(api, admin, failed["id"])] == [review["review_id"]]
    assert delivery_of(api, partner, failed["event_id"])["status"] == "failed"
