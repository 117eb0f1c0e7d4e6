"""The pages that a browser sees at the end: ours from end to end."""

import re

import httpx


def turned_away(answer: httpx.Response, reason: str) -> None:
    """The page of a refusal: ours from end to end."""
    assert answer.status_code == 400, answer.text
    assert_page(answer, "Authorization failed")
    assert f"<code>{reason}</code>" in answer.text


def assert_page(answer: httpx.Response, heading: str) -> None:
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert '<html lang="en">' in answer.text
    assert f"<h1>{heading}</h1>" in answer.text
    assert re.search(r"<title>[^<]+</title>", answer.text)
    assert "<script" not in answer.text
