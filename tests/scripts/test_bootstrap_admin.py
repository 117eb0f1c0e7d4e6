"""`python -m scripts.bootstrap_admin`: one admin, whose secrets are shown once, however often it is run."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from devstack.process import ROOT
from shared_code.services.key_format import mint
from tests import services
from tests.shared_servers import new_database

NOBODY = "redis://127.0.0.1:9/0"
type Env = Mapping[str, str]


@pytest.fixture
def env() -> Iterator[Env]:
    with new_database() as url:
        yield services.app_environment(url, NOBODY)


def run(env: Env, **more: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "scripts.bootstrap_admin", "--email", "you@example.com", "--json"]
    done = subprocess.run(command, cwd=ROOT, env={**env, **more}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_second_run_makes_nothing_and_shows_nothing(env: Env) -> None:
    first = run(env)
    assert first["created"]
    assert first["api_key"].startswith(first["key_id"])
    assert len(first["password"]) >= 15
    assert run(env) == {"email": "you@example.com", "key_id": None, "created": False, "api_key": None}


def test_a_lost_key_is_replaced_by_one_that_is_given_and_the_password_stays(env: Env) -> None:
    run(env)
    key = mint("live").text
    again = run(env, PINKSYNC_BOOTSTRAP_API_KEY=key)
    assert again["created"]
    assert again["api_key"] == key
    assert "password" not in again
    assert not run(env, PINKSYNC_BOOTSTRAP_API_KEY=key)["created"]
