"""What is published is the app, the whole app, and works with what requirements.txt names and nothing else."""

import ast
import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import distributions
from pathlib import Path

import pathspec
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from devstack.process import ROOT
from scripts import package as script
from scripts.package import NotTheApp, package, uploaded
from tests import services
from tests.functions.index import TABLE, table
from tests.packaging.azure import Azure, Told
from tests.shared_servers import ask

STRAYS = (
    ".devstack/secrets.json",
    ".devstack-two/credentials.json",
    ".env",
    ".env.production",
    ".git",
    ".github/workflows/ci.yml",
    ".venv/lib/thing.py",
    ".venv/bin/python",
    "docs/operations.md",
    "functions/__pycache__/http.cpython-313.pyc",
    "functions/local.settings.json",
    "infra/bicep/main.bicep",
    "local.settings.json",
    "migrations/0001_first.sql",
    "scripts/migrate.py",
    "shared_code/NOTES.md",
    "shared_code/services/__pycache__/limits.cpython-313.pyc",
    "tests/test_house.py",
)
"""What may lie about where someone publishes from; none of it is the app's."""


# ── What is in it ────────────────────────────────────────────────────────────────────────────────


def test_it_holds_every_file_of_the_app_and_nothing_else(published: Path) -> None:
    folders = [path for name in ("functions", "shared_code") for path in (ROOT / name).rglob("*") if path.is_file()]
    wanted = [path for path in folders if "__pycache__" not in path.parts]
    wanted += [ROOT / "function_app.py", ROOT / "host.json", ROOT / "requirements.txt"]
    found = [path for path in published.rglob("*") if path.is_file()]
    assert names(found, published) == sorted([*names(wanted, ROOT), script.BUILD])


def names(paths: list[Path], root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in paths)


@pytest.fixture
def untidy(tmp_path: Path, published: Path) -> Path:
    """The app's folder with all that may lie about in it."""
    root = tmp_path / "untidy"
    shutil.copytree(published, root)
    shutil.copy(ROOT / ".funcignore", root)
    for name in STRAYS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("secret")
    return root


def test_core_tools_leave_behind_what_is_not_the_app(untidy: Path, published: Path) -> None:
    assert sorted(uploaded(untidy)) == names([path for path in published.rglob("*") if path.is_file()], published)


def test_azd_reads_the_same_from_it_by_the_rules_of_git(untidy: Path) -> None:
    """Core Tools read .funcignore by rules of their own, azd as git would: both must publish the same."""
    lines = (untidy / ".funcignore").read_text().splitlines()
    ignored = pathspec.GitIgnoreSpec.from_lines(lines)
    everything = names([path for path in untidy.rglob("*") if path.is_file()], untidy)
    assert [name for name in everything if not ignored.match_file(name)] == sorted(uploaded(untidy))


@pytest.mark.parametrize("line", [".devstack", ".env", "**/*.md", "/tests"])
def test_a_line_less_in_funcignore_is_noticed(untidy: Path, line: str) -> None:
    file = untidy / ".funcignore"
    before = list(uploaded(untidy))
    file.write_text(file.read_text().replace(f"\n{line}\n", "\n"))
    assert set(before) < set(uploaded(untidy))


def test_a_stray_file_stops_the_command(untidy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (untidy / "id_rsa").touch()
    assert script.main(["--root", str(untidy), "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == "package: not of the app, and not in .funcignore: id_rsa\n"
    assert not (tmp_path / "out").exists()


def test_the_command_can_be_repeated_and_empties_nothing_else(tmp_path: Path) -> None:
    assert script.main(["--output", str(tmp_path / "out")]) == script.main(["--output", str(tmp_path / "out")]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    assert script.main(["--output", str(tmp_path / "mine")]) == 1
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_a_package_can_say_of_which_build_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--output", str(tmp_path / "out")]
    assert script.main([*options, "--build", "1a2b3c"]) == 0
    assert (tmp_path / "out" / script.BUILD).read_text() == "1a2b3c"
    assert script.main(options) == 0
    assert not (tmp_path / "out" / script.BUILD).exists()
    with pytest.raises(SystemExit) as ended:
        script.main([*options, "--build", "no build\n"])
    assert ended.value.code == 2


def test_a_package_without_its_requirements_is_none(untidy: Path, tmp_path: Path) -> None:
    (untidy / "requirements.txt").unlink()
    with pytest.raises(NotTheApp, match="missing: requirements"):
        package(untidy, tmp_path / "out")


# ── What it needs ────────────────────────────────────────────────────────────────────────────────


type Installed = Mapping[str, Sequence[Requirement]]
"""Each distribution of the clean environment, and what it asks for."""


@pytest.fixture(scope="module")
def installed(azure: Azure) -> Installed:
    found = distributions(path=[str(azure.libraries)])
    return {canonicalize_name(each.name): [Requirement(line) for line in each.requires or ()] for each in found}


def needed(installed: Installed) -> set[str]:
    """All that requirements.in asks for, extras included, and all that those ask for in turn."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.in").read_text().splitlines())
    found: set[tuple[str, str]] = set()
    queue = [Requirement(line) for line in lines if line]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        asked = {(name, extra) for extra in ("", *requirement.extras)} - found
        found |= asked
        queue += [each for _, extra in asked for each in installed.get(name, ()) if applies(each, extra)]
    return {name for name, _ in found}


def applies(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def test_each_line_of_the_requirements_is_needed_and_none_is_missing(installed: Installed) -> None:
    """So no line can go without this failing: every one is asked for by requirements.in or by what that asks for."""
    assert needed(installed) == installed.keys()


def test_a_line_less_in_the_requirements_is_named(installed: Installed) -> None:
    for gone in installed:
        left = {name: asked for name, asked in installed.items() if name != gone}
        assert needed(left) - left.keys() == {gone}


def test_all_that_the_app_imports_is_installed(published: Path, azure: Azure) -> None:
    """Also what it imports late, inside a function."""
    own = {"functions", "shared_code", *sys.stdlib_module_names}
    imported = {module for module in imports(published) if module.partition(".")[0] not in own}
    assert len(imported) > 20
    assert [module for module in sorted(imported) if not is_in(azure.libraries, module)] == []


def imports(package: Path) -> Iterator[str]:
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module


def is_in(libraries: Path, module: str) -> bool:
    place = libraries / module.replace(".", "/")
    return place.is_dir() or any(place.parent.glob(f"{place.name}.*"))


# ── What it does ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def settings(database_url: str, redis_url: str) -> Mapping[str, str]:
    svix, xano = ask("svix"), ask("xano")
    storage = ask("azurite").url
    wired = {"SVIX_URL": svix.url, "SVIX_TOKEN": svix.secret, "XANO_API_URL": xano.url, "XANO_API_KEY": xano.secret}
    return services.app_environment(database_url, redis_url, AUDIT_STORAGE_CONNECTION_STRING=storage, **wired)


def test_it_is_indexed_and_answers_from_the_package_alone(
    azure: Azure, published: Path, settings: Mapping[str, str]
) -> None:
    """And says of which build it is."""
    told = azure.load(published, "/api/health", "/api/ready", "/api/docs", settings=settings, patience=30)
    assert told.error == ""
    assert table(told.functions) == TABLE.read_text()
    assert told.problems == []
    assert told.answers["/api/health"]["status"] == 200
    assert json.loads(told.answers["/api/health"]["body"]) == {"status": "ok", "version": "0.1.0+1a2b3c"}
    assert told.answers["/api/docs"]["status"] == 200
    assert dependencies(told) == dict.fromkeys(
        ("postgres", "redis", "svix", "xano", "storage", "keyring", "timers"), "ok"
    )


def dependencies(told: Told) -> Mapping[str, str]:
    return json.loads(told.answers["/api/ready"]["body"])["dependencies"]


@pytest.mark.parametrize("module", ["aiohttp", "bcrypt", "psycopg", "redis"])
def test_without_a_package_it_needs_at_import_it_is_not_loaded(azure: Azure, published: Path, module: str) -> None:
    """The module is hidden from the import system, as if its line were not in requirements.txt."""
    assert module in azure.load(published, hidden=[module]).error


def test_a_package_it_needs_later_is_missed_by_a_call(
    azure: Azure, published: Path, settings: Mapping[str, str]
) -> None:
    told = azure.load(published, "/api/ready", settings=settings, hidden=["azure.data"])
    assert dependencies(told)["storage"] == "down"


def test_a_blueprint_less_is_noticed(azure: Azure, published: Path, tmp_path: Path) -> None:
    smaller = tmp_path / "smaller"
    shutil.copytree(published, smaller)
    app = smaller / "function_app.py"
    text, removed = re.subn(r"\n    webhooks,", "", app.read_text())
    assert removed
    app.write_text(text)
    told = azure.load(smaller)
    assert told.error == ""
    assert table(told.functions) != TABLE.read_text()
