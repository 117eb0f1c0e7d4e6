"""Which tests a worker runs together, and which go first: a pytest plugin, loaded by conftest.py."""

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent
LONG = ("functions", "devstack", "packaging", "sync", "browser", "scripts", "infra")
"""Their files start gateways or many processes; one of those at the end would have the other workers wait for it."""


class Together(LoadScopeScheduling):
    """A file's tests stay in one worker; so do the files of a folder of tests/functions, which share a gateway."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folder = file.rpartition("/")[0]
        return folder if folder.startswith("tests/functions/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Together:
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=place)


def place(item: pytest.Item) -> int:
    folder = item.path.relative_to(TESTS).parts[0]
    return LONG.index(folder) if folder in LONG else len(LONG)
