"""Microsoft's worker library, driven as the Azure worker process drives it (facts sections 1, 2 and 7).

The library keeps its functions in module globals, so there is one app per process.
"""

import logging
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import azure_functions_runtime as runtime
from azure_functions_runtime import native_invocation
from azure_functions_runtime.bindings.datumdef import Datum

from devstack.functions_host import protos
from devstack.functions_host.failures import CannotLoad, app_frames, chain, one_line
from devstack.functions_host.metadata import Function
from devstack.functions_host.tracing import Trace, new_invocation_id

_PACKAGES = Path(".python_packages/lib/site-packages")
Inputs = list[tuple[str, Datum]]

logger = logging.getLogger("functions_host")


class Outcome(NamedTuple):
    """`value` is the encoded return value of a call that went well; `error`, `traceback` tell of one that did not."""

    ok: bool
    value: Datum | None
    error: str
    traceback: str


class Attempt(NamedTuple):
    """Which retry this is; the first try is number 0 of 0 where there is no retry policy."""

    number: int = 0
    limit: int = 0
    error: protos.RpcException | None = None


FIRST_TRY = Attempt()


def arrange_import_path(app_root: Path) -> None:
    """As in Azure: the app's own packages first, the app's folder LAST (facts section 2).

    `python -m` put the current folder first; left there, it would hide a clash between the app's module names
    and installed packages, or lend the app modules it does not have.
    """
    if not sys.flags.safe_path and sys.path and Path(sys.path[0] or ".").resolve() == Path.cwd().resolve():
        del sys.path[0]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != app_root]
    if (app_root / _PACKAGES).is_dir():
        sys.path.insert(0, str(app_root / _PACKAGES))
    sys.path.append(str(app_root))


class Worker:
    """The loaded app. `call` is safe to run many times at once; every failed call becomes one line in the log."""

    def __init__(self, app_root: Path) -> None:
        self._app_root = app_root
        self._ids: dict[str, str] = {}

    async def load(self) -> list[Function]:
        """Imports and indexes the app in the running loop. Raises CannotLoad with what the library had to say."""
        script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
        if not (self._app_root / script).is_file():
            raise CannotLoad(f"there is no {script} in {self._app_root}")
        _refuse_a_namesake(self._app_root / script)
        _quieten_the_library()
        runtime.start_threadpool_executor()
        message = _start_message(self._app_root)
        try:
            answer = await runtime.worker_init_request(message)
        except SystemExit as ended:
            raise CannotLoad(f"{script} called sys.exit({ended.code!r}) while it was imported") from ended
        _refuse_a_bad_start(answer, self._app_root)
        indexed = (await runtime.functions_metadata_request(message)).function_metadata_results
        functions = [Function.from_worker(metadata) for metadata in indexed or ()]
        self._ids = {function.name: function.id for function in functions}
        return functions

    async def call(self, name: str, inputs: Inputs, trace: Trace, attempt: Attempt = FIRST_TRY) -> Outcome:
        """One invocation. An exception of the function's own is an Outcome; only cancellation passes through."""
        invocation_id = new_invocation_id()
        ok, value, _, error, traceback = await native_invocation.invocation_request_native(
            invocation_id, self._ids[name], inputs, {}, *trace, *attempt
        )
        outcome = Outcome(ok, value, error or "", traceback or "")
        if not ok:
            where = chain(outcome.traceback, self._app_root)
            logger.error(
                "function '%s' failed: %s [%s] invocation=%s", name, one_line(outcome.error), where, invocation_id
            )
            logger.debug("%s", outcome.traceback)
        return outcome


def _refuse_a_namesake(script: Path) -> None:
    """The app's folder is last, so any other folder on the path may hold a module of that name."""
    found = PathFinder.find_spec(script.stem)
    if found is not None and found.origin and Path(found.origin).resolve() != script.resolve():
        raise CannotLoad(f"{found.origin} comes before {script} on sys.path and would be loaded in its place")


def _start_message(app_root: Path) -> SimpleNamespace:
    start = SimpleNamespace(capabilities={}, function_app_directory=str(app_root))
    return SimpleNamespace(
        request=SimpleNamespace(worker_init_request=start), properties={"protos": protos, "host": "127.0.0.1"}
    )


def _refuse_a_bad_start(answer: protos.WorkerInitResponse, app_root: Path) -> None:
    problem = answer.result.exception
    if answer.result.status != protos.StatusResult.Success and problem is not None:
        text = problem.message.split(". Current sys.path:")[0].split(" For more info")[0]
        raise CannotLoad(one_line(text), app_frames(problem.stack_trace, app_root))
    if "HttpUri" in answer.capabilities:
        raise CannotLoad("the app uses HTTP streaming (azurefunctions-extensions-http-fastapi); this host has none")


def _quieten_the_library() -> None:
    """The host tells of each failure itself, in one line and with names; the library's own records say it again."""
    known = ("Native invocation failed", "Native sync invocation failed", "Error when indexing", "Error: ")
    logging.getLogger("azure.functions").addFilter(lambda record: not str(record.msg).startswith(known))
