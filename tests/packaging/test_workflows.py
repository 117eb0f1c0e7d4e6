"""The workflows keep their rules, and whoever breaks one is told: the very checks of `make check`, on broken copies."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.process import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent


def zizmor(folder: Path) -> tuple[int, str]:
    command = [TOOLS / "zizmor", "--offline", "--quiet", "--persona=pedantic", "--color=never", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.returncode, done.stdout


def schema(name: str, *files: Path) -> int:
    command = [TOOLS / "check-jsonschema", "--quiet", "--builtin-schema", name, *files]
    return subprocess.run(command, capture_output=True).returncode


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GITHUB, tmp_path / ".github"))


def test_they_keep_the_rules() -> None:
    assert zizmor(GITHUB)[0] == 0
    assert schema("vendor.github-workflows", *WORKFLOWS) == 0
    assert schema("vendor.dependabot", GITHUB / "dependabot.yml") == 0


@pytest.mark.parametrize(
    ("rule", "file", "good", "bad"),
    [
        ("unpinned-uses", "ci.yml", r"checkout@[0-9a-f]{40} # v[0-9.]+", "checkout@v7"),
        ("excessive-permissions", "deploy.yml", r"permissions: \{\}", "permissions: write-all"),
        ("artipacked", "deploy-to.yml", "persist-credentials: false", "fetch-depth: 1"),
        ("template-injection", "ci.yml", r"run: make audit", "run: echo ${{ github.head_ref }}"),
        ("dangerous-triggers", "ci.yml", "pull_request:", "pull_request_target:"),
        ("secrets-inherit", "deploy.yml", "    needs: dev\n", "    needs: dev\n    secrets: inherit\n"),
    ],
)
def test_a_broken_rule_is_caught(copy: Path, rule: str, file: str, good: str, bad: str) -> None:
    spoil(copy / "workflows" / file, good, bad)
    code, told = zizmor(copy)
    assert code != 0
    assert f"[{rule}]" in told


def test_a_misspelt_key_is_caught(copy: Path) -> None:
    spoil(copy / "workflows" / "ci.yml", "runs-on:", "runs_on:")
    assert schema("vendor.github-workflows", copy / "workflows" / "ci.yml") != 0


def spoil(file: Path, good: str, bad: str) -> None:
    text, changed = re.subn(good, bad, file.read_text(), count=1)
    assert changed, f"{file.name} has no {good}"
    file.write_text(text)


# ── What no tool here knows ──────────────────────────────────────────────────────────────────────


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in WORKFLOWS:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            yield f"{file.name}: {name}", job


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, job in jobs():
        for step in job.get("steps", ()):
            yield name, step


def test_each_job_says_what_it_may_and_how_long() -> None:
    assert [name for name, job in jobs() if "permissions" not in job] == []
    assert [name for name, job in jobs() if "timeout-minutes" not in job and "uses" not in job] == []


def test_a_job_waits_only_for_jobs_that_are_there() -> None:
    for file in WORKFLOWS:
        known = yaml.safe_load(file.read_text())["jobs"]
        for job in known.values():
            needs = job.get("needs", [])
            assert {needs} if isinstance(needs, str) else set(needs) <= known.keys()


def test_each_action_has_its_version_beside_its_commit() -> None:
    lines = [line for file in WORKFLOWS for line in file.read_text().splitlines() if "uses:" in line]
    strange = [line for line in lines if not re.search(r"uses: (\./\S+|[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$", line)]
    assert strange == []


def test_one_action_is_one_commit_everywhere() -> None:
    used = {step["uses"] for _, step in steps() if "uses" in step}
    assert len({each.partition("@")[0] for each in used}) == len(used)


def test_each_script_is_one_that_bash_can_read() -> None:
    for name, step in steps():
        if "run" in step:
            done = subprocess.run(["bash", "-n"], input=step["run"], capture_output=True, text=True)
            assert (name, done.stderr) == (name, "")


def test_what_they_run_is_there() -> None:
    text = "\n".join(step["run"] for _, step in steps() if "run" in step)
    commands = set(re.findall(r"python -m (scripts\.\w+)", text))
    assert commands >= {"scripts.migrate", "scripts.package", "scripts.postgres_roles", "scripts.smoke_test"}
    assert [name for name in commands if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []
    targets = set(re.findall(r"make (\w+)", text))
    assert targets <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
