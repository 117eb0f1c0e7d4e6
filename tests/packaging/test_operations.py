"""The runbook names only what is there: commands, their options, routes, files, and its own headings."""

import re
import subprocess
import sys
from functools import cache

import pytest

from devstack.process import ROOT
from tests.functions.index import TABLE

TEXT = (ROOT / "docs" / "operations.md").read_text()


@cache
def help_of(script: str) -> str:
    command = [sys.executable, "-m", f"scripts.{script}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_command_is_there_and_tells_what_it_does() -> None:
    named = set(re.findall(r"python -m scripts\.(\w+)", TEXT))
    assert named >= {"set_secrets", "migrate", "postgres_roles", "package", "bootstrap_admin", "operational_webhooks"}
    for script in named:
        assert "usage: python -m scripts." in help_of(script)


@pytest.mark.parametrize(
    "script", ["set_secrets", "postgres_roles", "package", "smoke_test", "bootstrap_admin", "migrate"]
)
def test_each_option_is_one_that_the_command_has(script: str) -> None:
    joined = TEXT.replace("\\\n", " ")
    lines = re.findall(rf"(?:scripts\.|`){script}\b((?:[^`\n]*? --[\w-]+)+)", joined)
    options = {option for line in lines for option in re.findall(r" (--[\w-]+)", line)}
    assert [option for option in options if option not in help_of(script)] == []


def test_each_route_is_one_that_the_app_has() -> None:
    routes = {"/" + line.split()[1] for line in TABLE.read_text().splitlines()}
    named = set(re.findall(r"(?<=[ `\"L])(/(?:api|webhooks|oauth)/[\w/{}$-]*)", TEXT))
    shapes = {re.sub(r"\{\w+\}|\$\w+", "*", each).rstrip("/") for each in named}
    known = {re.sub(r"\{[^}]+\}", "*", each) for each in routes}
    assert len(shapes) > 15
    assert sorted(shapes - known - {"/api/v1", "/api/proxy"}) == []


def test_each_link_leads_somewhere() -> None:
    headings = {anchor(line) for line in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / "docs" / target).exists()


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
