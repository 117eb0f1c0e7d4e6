"""The delivery log and its reviews, as their readers see them."""

import httpx

from tests.functions.stack import Connected, Headers, Json, publish
from tests.services import eventually


def delivery_of(api: httpx.Client, partner: Connected, event_id: str) -> Json:
    listed = api.get("/api/webhooks/deliveries", params={"event_id": event_id}, headers=partner.key)
    assert listed.status_code == 200, listed.text
    (only,) = listed.json()["deliveries"]
    return only


def delivery_in(api: httpx.Client, partner: Connected, event_id: str, status: str) -> Json:
    """The event's only delivery, as soon as it has this status."""

    def look() -> Json | None:
        found = delivery_of(api, partner, event_id)
        return found if found["status"] == status else None

    return eventually(look) or {}


def report(api: httpx.Client, partner: Connected, delivery: Json) -> Json:
    answer = api.get(f"/api/webhooks/deliveries/{delivery['id']}", headers=partner.key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def retry(api: httpx.Client, key: Headers, delivery: Json, **body: object) -> httpx.Response:
    return api.post(f"/api/webhooks/deliveries/{delivery['id']}/retry", json=body, headers=key)


def reviews(api: httpx.Client, admin: Headers, subject: str, **query: str | bool) -> list[Json]:
    listed = api.get("/api/reviews", params={"limit": 200, **query}, headers=admin)
    assert listed.status_code == 200, listed.text
    return [each for each in listed.json()["reviews"] if each["subject"] == subject]


def resolve(api: httpx.Client, admin: Headers, review: Json, **body: object) -> httpx.Response:
    return api.post(f"/api/reviews/{review['review_id']}/resolve", json=body, headers=admin)


def exhausted(api: httpx.Client, admin: Headers, partner: Connected) -> tuple[Json, Json]:
    """A delivery that failed for good, and its review."""
    failed = delivery_in(api, partner, publish(api, partner.key), "failed")
    (review,) = reviews(api, admin, failed["id"])
    return failed, review
