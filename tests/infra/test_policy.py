"""Each rule of infra/check/policy.py, broken once in the templates, speaks up."""

from pathlib import Path

import pytest
import yaml

from infra.check import policy
from infra.check.evaluate import Resource
from infra.check.faults import TEMPLATES, environment, parameters
from infra.check.policy import RULES
from tests.infra.broken import is_found

BREAKS: dict[str, list[dict[str, str]]] = yaml.safe_load(Path(__file__).with_name("broken_rules.yaml").read_text())


def test_every_rule_is_broken_here() -> None:
    assert [rule.__name__ for rule in RULES] == list(BREAKS)


@pytest.mark.parametrize(
    "change", [each for breaks in BREAKS.values() for each in breaks], ids=lambda each: each["said"]
)
def test_a_broken_rule_speaks_up(change: dict[str, str], tmp_path: Path) -> None:
    assert is_found(tmp_path, **change)


@pytest.mark.parametrize("name", [rule.__name__ for rule in RULES])
def test_each_rule_is_needed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, what it is there for goes unseen: no other rule says the same."""
    monkeypatch.setattr(policy, "RULES", [rule for rule in RULES if rule.__name__ != name])
    assert not is_found(tmp_path, **BREAKS[name][-1])


def test_only_the_front_door_is_public_in_production() -> None:
    """The app answers to the front door's rule alone; all else is closed."""
    open_ones = {resource.type for resource in environment("prod").resources if is_public(resource)}
    assert open_ones == {"Microsoft.Web/sites"}
    assert parameters(TEMPLATES / "parameters/prod.parameters.json")["networkMode"] == "private"


def is_public(resource: Resource) -> bool:
    network = resource.properties.get("network", {})
    return "Enabled" in (resource.properties.get("publicNetworkAccess"), network.get("publicNetworkAccess"))
