"""`python -m devstack.functions_host`: the command line."""

import argparse
import asyncio
import ipaddress
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from devstack.functions_host import access_log
from devstack.functions_host.failures import CannotLoad
from devstack.functions_host.lint import lint
from devstack.functions_host.metadata import Function
from devstack.functions_host.process import CannotListen, Options, open_port, serve
from devstack.functions_host.settings import BadSettings, Settings
from devstack.functions_host.worker import Worker, arrange_import_path

_ABOUT = """\
Runs an Azure Functions app (Python, v2 model) on this machine, on the worker library that Azure itself uses
(azure-functions-runtime), with the HTTP front, the routing, the timers and the odd rules of the real host.
"""
_ENVIRONMENT = """\
app settings are environment variables; %NAME% in a timer's schedule is read from there too. The host reads:
  PYTHON_SCRIPT_FILE_NAME            the app's main file (default function_app.py)
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT  bytes; a bigger body is a 500, as in Azure (default 104857600)
  AzureWebJobsDisableHomepage        true: / without a function is 204, not a page
  AzureWebJobs.NAME.Disabled         true: that function is off (also with __ in place of each dot)
  AzureFunctionsJobHost__A__B        replaces the value A.B of host.json
  DEVSTACK_MASTER_KEY                key for /admin in x-functions-key or ?code=; unset: /admin is closed
  DEVSTACK_ENFORCE_AUTH              1: FUNCTION and ADMIN levels need a key (default: no function does)
  DEVSTACK_FUNCTION_KEY              with the above: opens the FUNCTION level
  DEVSTACK_FRONT_TIMEOUT             seconds until a slow call's caller gets 502 (default 230)

the host's own routes:
  POST /admin/functions/NAME         runs a timer now (202); body {} and Content-Type: application/json
  GET  /admin/functions, GET /admin/host/status, GET /admin/host/ping (no key)

exit codes: 0 after SIGTERM or Ctrl-C, 1 when the app cannot be loaded or the port is taken (the reason is on
stderr), 2 for a wrong command line.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options, level, check = _parse(arguments)
    _log_to_stderr(level)
    for number in (signal.SIGTERM, signal.SIGINT):
        # Until the loop takes over: nothing is under way yet.
        signal.signal(number, lambda *_: os._exit(0))
    try:
        listener = None if check else open_port(options)
        arrange_import_path(options.app_root)
        os.chdir(options.app_root)
        os.environ.setdefault("AZURE_FUNCTIONS_ENVIRONMENT", "Development")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if listener is None:
                Settings.read(options.app_root)
                return _show(runner.run(Worker(options.app_root).load()))
            runner.run(serve(options, listener))
    except (CannotLoad, BadSettings, CannotListen) as problem:
        return _refuse(problem)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devstack.functions_host",
        description=_ABOUT,
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--app-root", type=_folder, required=True, metavar="PATH", help="folder with function_app.py and host.json")
    add("--port", type=int, default=7071, metavar="N", help="port to listen on; 0 picks a free one (default 7071)")
    add("--bind", type=_loopback, default="127.0.0.1", metavar="ADDRESS", help="loopback address (default 127.0.0.1)")
    add("--state", type=Path, metavar="DIR", help="where timers remember their last run; without it they do not")
    add("--grace", type=int, default=5, metavar="N", help="seconds for calls under way on SIGTERM (default 5)")
    add("--access-log", action="store_true", help="one line per request on stderr")
    add("--log-level", default="warning", choices=("debug", "info", "warning", "error"), help="(default warning)")
    add("--check", action="store_true", help="index the app, print its functions and problems as JSON, and end")
    return parser


def _parse(arguments: Sequence[str] | None) -> tuple[Options, str, bool]:
    given = _parser().parse_args(arguments)
    options = Options(
        app_root=given.app_root,
        address=given.bind,
        port=given.port,
        state=given.state.resolve() if given.state else None,
        access_log=given.access_log,
        grace=given.grace,
    )
    return options, given.log_level.upper(), given.check


def _folder(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a folder")
    return path


def _loopback(text: str) -> str:
    address = "127.0.0.1" if text == "localhost" else text
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text} is not a loopback address; this host is for local use only")


def _log_to_stderr(level: str) -> None:
    """The root logger passes INFO on, as in the Azure worker; only what is shown here depends on --log-level."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    shown, access = logging.StreamHandler(), logging.StreamHandler()
    shown.setLevel(level)
    for handler in (shown, access):
        handler.setFormatter(formatter)
    logging.basicConfig(level="DEBUG" if level == "DEBUG" else "INFO", handlers=[shown])
    # Its lines are wanted at any level, by those who asked for them.
    access_log.logger.addHandler(access)
    access_log.logger.propagate = False


def _show(functions: Sequence[Function]) -> int:
    problems = lint(functions)
    table = [{"name": function.name, "bindings": function.bindings} for function in functions]
    print(json.dumps({"functions": table, "problems": problems}, indent=2))
    return 1 if problems else 0


def _refuse(problem: CannotLoad | BadSettings | CannotListen) -> int:
    kind = "the app cannot be loaded: " if isinstance(problem, CannotLoad) else ""
    frames = problem.frames if isinstance(problem, CannotLoad) else ()
    print(f"functions host: {kind}{problem}", *(f"  at {frame}" for frame in frames), sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
