"""The templates have no fault, and the checker finds each fault that is put into them (docs/infrastructure.md)."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from devstack.process import ROOT
from infra.check import faults
from infra.check.schema import schemas
from tests.infra.broken import is_found


def test_nothing_is_wrong_with_the_templates() -> None:
    assert [str(fault) for fault in faults.all_faults()] == []


def test_the_command_says_so_and_fails_when_something_is(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "infra.check"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Bicep files: nothing wrong.\n")


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_an_environment_is_whole(name: str) -> None:
    made = faults.environment(name)
    kinds = {resource.type.removeprefix("Microsoft.") for resource in made.resources}
    assert {
        "Web/sites", "Storage/storageAccounts", "DBforPostgreSQL/flexibleServers", "Cache/redisEnterprise",
        "KeyVault/vaults", "OperationalInsights/workspaces", "Insights/components", "Cdn/profiles",
        "Network/FrontDoorWebApplicationFirewallPolicies", "Network/virtualNetworks", "Consumption/budgets",
    } <= kinds  # fmt: skip
    assert len(made.of_type("Insights/scheduledQueryRules")) == 5
    assert made.outputs["FUNCTION_APP_NAME"].startswith(f"func-pinksync-{name}-")


def test_each_environment_names_its_things_apart() -> None:
    names = [{resource.name for resource in faults.environment(name).of_type("Web/sites")} for name in ("dev", "prod")]
    assert names[0].isdisjoint(names[1])


def test_the_parameter_files_are_what_azure_reads() -> None:
    for path in sorted(faults.TEMPLATES.rglob("*.parameters.json")):
        content = json.loads(path.read_text())
        assert content.keys() == {"$schema", "contentVersion", "parameters"}, path
        assert all(each.keys() == {"value"} for each in content["parameters"].values()), path


def test_azd_finds_the_template_and_the_app() -> None:
    project = yaml.safe_load((ROOT / "azure.yaml").read_text())
    assert (ROOT / project["infra"]["path"] / f"{project['infra']['module']}.bicep").is_file()
    [(name, service)] = project["services"].items()
    [app] = faults.environment("dev").of_type("Web/sites")
    assert app.body["tags"]["azd-service-name"] == name
    assert (ROOT / service["project"] / "function_app.py").is_file()
    asked = set(re.findall(r"\$\{(\w+)", (faults.TEMPLATES / "main.parameters.json").read_text()))
    assert asked == {"AZURE_ENV_NAME", "AZURE_LOCATION", "PINKSYNC_REGION_CODE", "PINKSYNC_ALERT_EMAIL", "XANO_API_URL"}


def test_the_snapshot_knows_where_each_schema_came_from() -> None:
    sources = {schema["from"].split()[0] for schema in schemas().values()}
    assert sources <= {"azmcp", "by", *{source for source in sources if source.startswith("azure-mgmt-")}}


SEEDED: dict[str, dict[str, str]] = yaml.safe_load((Path(__file__).with_name("seeded_faults.yaml")).read_text())


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_fault_is_found(name: str, tmp_path: Path) -> None:
    assert is_found(tmp_path, **SEEDED[name])
