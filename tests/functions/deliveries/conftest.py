"""A Svix that gives up after two attempts, and a host of its own that it tells about them."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from devstack.process import ROOT
from tests import services
from tests.functions.stack import Connect, Connected, Stack, running_stack
from tests.shared_servers import ask


@pytest.fixture(scope="package")
def svix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Service]:
    """Two attempts, a second apart."""
    with services.start_svix(tmp_path_factory.mktemp("svix"), retry="1") as running:
        yield running


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, svix: services.Service) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("gateway")
    with running_stack(folder, svix, ask("partner"), PAYLOAD_RETENTION_DAYS="1") as running:
        hear_from_svix(running)
        yield running


def hear_from_svix(stack: Stack) -> None:
    """As an operator does it: the command that makes Svix send its operational webhooks here."""
    env = {**os.environ, **stack.env, "PUBLIC_URL": stack.url}
    command = [sys.executable, "-m", "scripts.operational_webhooks"]
    for _ in range(2):  # safe to repeat
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert f"{stack.url}/webhooks/svix" in done.stdout


@pytest.fixture
def partner(connect: Connect) -> Connected:
    return connect()
