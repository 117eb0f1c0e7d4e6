"""The rules of the house that no linter knows (docs: design.md "The tree", facts/azure-functions.md §7)."""

import ast
import difflib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psycopg
import psycopg_pool
import pytest
import redis.exceptions
import svix.exceptions

from devstack.process import ROOT
from shared_code import errors
from shared_code.adapters import postgres_store, redis_client, svix_webhooks
from shared_code.errors import PinkSyncError
from shared_code.ports import Refused
from tests.functions.index import TABLE, index, table

LONGEST_FILE, LONGEST_FUNCTION = 250, 40
LONGER_FILES = {
    "functions/http.py": (400, "the one way in: what every request meets is read top to bottom, in one place"),
    "functions/partners.py": (290, "one door per route, each mostly its registration"),
    "shared_code/errors.py": (350, "one tree: each class is three lines"),
    "shared_code/gateway.py": (580, "the composition root: each service is four lines"),
    "shared_code/settings.py": (340, "every setting, and how each kind is read"),
    "shared_code/adapters/svix_webhooks.py": (340, "every call to one SDK and every way in which it fails"),
    "shared_code/adapters/memory_store.py": (270, "one line per table of the one store, twice"),
    "shared_code/adapters/postgres_store.py": (300, "one line per table of the one store, twice"),
    "shared_code/ports/store.py": (400, "every table of the one store"),
    "shared_code/services/relay.py": (260, "every kind of debt to the webhook service, and how it is paid"),
    "shared_code/services/partners.py": (330, "a partner's whole life; its parts share most of their rules"),
}
"""How long at most, and why."""
LONGER_FUNCTIONS = {
    "shared_code/settings.py: load": (60, "every setting, named once"),
    "shared_code/adapters/memory_store.py: seen_by": (60, "one line per table of the one store"),
    "functions/http.py: endpoint": (55, "everything that a route can say of itself, named once"),
}
READS_ENVIRONMENT = {"shared_code/settings.py", "shared_code/gateway.py"}
OURS = sorted(path for folder in ("functions", "shared_code") for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ── The index ────────────────────────────────────────────────────────────────────────────────────


def test_the_index_is_the_table_that_is_checked_in() -> None:
    kept, found = TABLE.read_text() if TABLE.exists() else "", table(index().functions)
    diff = "\n".join(difflib.unified_diff(kept.splitlines(), found.splitlines(), "the table", "the app", lineterm=""))
    assert kept == found, f"\n{diff}\n\nIf that is meant: .venv/bin/python -m tests.functions.index"


def test_the_host_has_nothing_against_any_function() -> None:
    assert index().problems == []


def test_no_function_asks_the_platform_for_a_key() -> None:
    """Microsoft's own level must stay ANONYMOUS: keys of ours are what guards (contract §2)."""
    assert {function.auth_level for function in index().http} == {"ANONYMOUS"}
    many = {function.name for function in index().http if len(function.methods) != 1}
    assert many == {"proxy_call", "zz_not_found"}


# ── The source ───────────────────────────────────────────────────────────────────────────────────


def test_files_are_short_or_listed_with_a_reason() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in OURS}
    assert too_long(lengths, LONGEST_FILE, LONGER_FILES) == {}


def test_functions_are_short_or_listed_with_a_reason() -> None:
    lengths = {f"{name_of(path)}: {node.name}": lines(node) for path in OURS for node in functions_in(path)}
    assert too_long(lengths, LONGEST_FUNCTION, LONGER_FUNCTIONS) == {}


def too_long(lengths: Mapping[str, int], most: int, listed: Mapping[str, tuple[int, str]]) -> dict[str, int]:
    assert listed.keys() <= lengths.keys(), "something that is gone is still listed"
    return {name: length for name, length in lengths.items() if length > listed.get(name, (most, ""))[0]}


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def functions_in(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_only_the_settings_and_the_gateway_touch_the_environment() -> None:
    readers = {name_of(path) for path in OURS if re.search(r"\benviron\b|\bgetenv\b", code_only(path))}
    assert readers <= READS_ENVIRONMENT


def code_only(path: Path) -> str:
    """Names and attributes; a word in a docstring does no harm."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = [node.id for node in nodes if isinstance(node, ast.Name)]
    attributes = [node.attr for node in nodes if isinstance(node, ast.Attribute)]
    return " ".join(names + attributes + [node.name for node in nodes if isinstance(node, ast.alias)])


# ── The import ───────────────────────────────────────────────────────────────────────────────────

WATCHED_IMPORT = """
import json, os, sys, time
root = sys.argv[1]
sys.path[:] = [entry for entry in sys.path if entry not in ("", root)] + [root]
seen = {"sockets": [], "environment": []}

def ours(frame):
    return frame.f_code.co_filename.startswith(root + "/") and "/.venv/" not in frame.f_code.co_filename

class Watched(type(os.environ)):
    def __getitem__(self, key):
        frame = sys._getframe(1)
        while frame is not None and "collections" in frame.f_code.co_filename:
            frame = frame.f_back
        if frame is not None and ours(frame):
            seen["environment"].append(key)
        return super().__getitem__(key)

os.environ.__class__ = Watched
sys.addaudithook(lambda event, _: seen["sockets"].append(event) if event.startswith("socket.") else None)
started = time.process_time()
import function_app
seen["seconds"] = time.process_time() - started
seen["functions"], seen["shared_code"] = sys.modules["functions"].__file__, sys.modules["shared_code"].__file__
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What importing the app did, in a process of its own with the app's folder last on its path."""
    command = [sys.executable, "-c", WATCHED_IMPORT, str(ROOT)]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(command, cwd=elsewhere, env={**os.environ}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_the_app_opens_no_socket(imported: dict[str, Any]) -> None:
    assert imported["sockets"] == []


def test_importing_the_app_reads_no_environment(imported: dict[str, Any]) -> None:
    assert imported["environment"] == []


def test_importing_the_app_is_quick(imported: dict[str, Any]) -> None:
    """Flex gives a cold start 30 s; a user gives it one. Of the processor's time, as other tests run beside this."""
    assert imported["seconds"] < 6


def test_no_installed_package_takes_the_place_of_ours(imported: dict[str, Any]) -> None:
    assert imported["functions"] == str(ROOT / "functions" / "__init__.py")
    assert imported["shared_code"] == str(ROOT / "shared_code" / "__init__.py")
    others = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]
    assert [name for name in ("functions", "shared_code", "function_app") if PathFinder.find_spec(name, others)] == []


# ── What is deployed ─────────────────────────────────────────────────────────────────────────────


def test_requirements_are_exact_and_from_the_index_alone() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = [line for line in lines if line.strip() and not line.startswith("#")]
    assert [line for line in required if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][a-z0-9.]*", line)] == []
    pins = dict(line.split("==") for line in required)
    assert "azure-functions" in pins
    assert pins["azure-functions-runtime"] == "1.3.0"
    assert pins.keys().isdisjoint({"protobuf", "grpcio", "azure-functions-worker"})


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────


SHARE_THEIR_PARENTS_CODE = {errors.BackendTimeout}
"""The contract has one code, `backend_unavailable`, for 503 and 504."""


def family(kind: type[PinkSyncError]) -> Iterator[type[PinkSyncError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


OUR_ERRORS = [kind for kind in family(PinkSyncError) if kind.__module__ == errors.__name__]


def test_each_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in OUR_ERRORS if kind not in SHARE_THEIR_PARENTS_CODE]
    assert sorted(set(codes)) == sorted(codes)
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_an_error_of_an_adapter_keeps_the_code_of_its_kind() -> None:
    foreign = [kind for kind in family(PinkSyncError) if kind not in OUR_ERRORS]
    assert [kind for kind in foreign if kind.code not in {parent.code for parent in OUR_ERRORS}] == []


def test_the_drawn_tree_is_the_tree() -> None:
    real = {kind.__name__: (parent(kind), kind.status, kind.code) for kind in OUR_ERRORS}
    assert drawn_tree(errors.__doc__ or "") == real


def parent(kind: type[PinkSyncError]) -> str:
    return kind.__bases__[0].__name__ if kind is not PinkSyncError else ""


def drawn_tree(drawing: str) -> dict[str, tuple[str, int, str]]:
    found: dict[str, tuple[str, int, str]] = {}
    above: list[str] = []
    for indent, name, status, code in re.findall(r"^([ │├└─]+)(\w+) +(\d{3}) (\w+)$", drawing, re.MULTILINE):
        depth = (len(indent) - 4) // 4
        above = [*above[:depth], name]
        found[name] = (above[depth - 1] if depth else "", int(status), code)
    return found


# ── Foreign errors ───────────────────────────────────────────────────────────────────────────────

NOT_MET = {
    psycopg.Warning: "psycopg never raises it",
    psycopg.Rollback: "a signal to the transaction block, which takes it",
    redis.exceptions.RedisClusterException: "no cluster: the script builds key names",
    redis.exceptions.ChildDeadlockedError: "no forks after a connection was made",
    redis.exceptions.IncorrectPolicyType: "no cluster: routing policies are not used",
    httpx.CookieConflict: "no cookies are read",
    httpx.StreamError: "a programming error: answers are read whole",
    svix.exceptions.WebhookVerificationError: "only raised by the verification of what comes in",
}
"""Foreign exceptions, with those below them, that these adapters cannot meet, and why."""


def exceptions_of(*modules: ModuleType) -> list[type[Exception]]:
    """Every public one that an adapter can meet."""
    things = [thing for module in modules for name, thing in vars(module).items() if not name.startswith("_")]
    kinds = {thing for thing in things if isinstance(thing, type) and issubclass(thing, Exception)}
    return [kind for kind in kinds if not issubclass(kind, tuple(NOT_MET)) and kind.__module__ != "builtins"]


def made(kind: type[Exception]) -> Exception:
    """One of this kind, whatever its constructor wants."""
    error = kind.__new__(kind)
    if isinstance(error, svix.exceptions.HttpError):
        error.status_code = 418
    return error


def untranslated(translated: Callable[[], AbstractContextManager[None]], kinds: list[type[Exception]]) -> set[str]:
    """Those that come through a context manager as they are, or whose cause is lost."""
    found: set[str] = set()
    for kind in kinds:
        try:
            with translated():
                raise made(kind)
        except Exception as error:
            if not (
                isinstance(error, PinkSyncError | Refused | redis_client.RedisDown)
                and isinstance(error.__cause__, kind)
            ):
                found.add(kind.__qualname__)
    return found


def test_each_error_of_psycopg_becomes_one_of_ours() -> None:
    kinds = exceptions_of(psycopg, psycopg.errors, psycopg_pool)
    assert len(kinds) > 200
    assert untranslated(postgres_store.translated, kinds) == set()


def test_each_error_of_redis_becomes_one_of_ours() -> None:
    kinds = exceptions_of(redis.exceptions)
    assert len(kinds) > 20
    assert untranslated(redis_client.translated, kinds) == set()


def test_each_error_of_svix_and_httpx_becomes_one_of_ours() -> None:
    kinds = exceptions_of(httpx, svix.exceptions)
    assert len(kinds) > 20
    assert untranslated(svix_webhooks.translated, kinds) == set()
