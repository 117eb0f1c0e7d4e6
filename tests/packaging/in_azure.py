"""Runs under a Python that has only what requirements.txt names: what becomes of the package there, as JSON.

python -I in_azure.py HOST PACKAGE. HOST holds `devstack/functions_host`, Microsoft's worker library as Azure drives
it; nothing else of this repository is there. The environment may hold
  HIDDEN   a package's modules, with commas, that are then not to be found
  CALLS    paths to GET once the app is indexed, with commas
  PATIENCE seconds to ask again while an answer says that something is down; the first one finds everything cold
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devstack.functions_host.worker import Worker


class Hiding(MetaPathFinder):
    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if any(fullname == module or fullname.startswith(f"{module}.") for module in self.modules):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def words(name: str) -> list[str]:
    return [word for word in os.environ.get(name, "").split(",") if word]


async def main(host: str, package: str) -> None:
    sys.path.insert(0, host)
    from devstack.functions_host.failures import CannotLoad
    from devstack.functions_host.lint import lint
    from devstack.functions_host.worker import Worker, arrange_import_path

    sys.meta_path.insert(0, Hiding(words("HIDDEN")))
    arrange_import_path(Path(package))
    worker = Worker(Path(package))
    try:
        functions = await worker.load()
    except CannotLoad as error:
        print(json.dumps({"error": str(error)}))
        return
    listed = [{"name": each.name, "id": each.id, "bindings": each.bindings} for each in functions]
    names = {each.route: each.name for each in functions}
    answers = {path: await settled(worker, path, names) for path in words("CALLS")}
    told = {"functions": listed, "problems": list(lint(functions)), "answers": answers}
    print(json.dumps(told))


async def settled(worker: "Worker", path: str, names: dict[str, str]) -> dict[str, object]:
    ends = time.monotonic() + float(os.environ.get("PATIENCE", "0"))
    answer = await get(worker, path, names)
    while '"down"' in str(answer.get("body")) and time.monotonic() < ends:
        await asyncio.sleep(0.2)
        answer = await get(worker, path, names)
    return answer


async def get(worker: "Worker", path: str, names: dict[str, str]) -> dict[str, object]:
    from devstack.functions_host.requests import http_datum
    from devstack.functions_host.tracing import new_trace

    scope = {"method": "GET", "query_string": b"", "raw_path": path.encode()}
    request = http_datum(scope, path, {"host": "pinksync.example"}, {}, b"")
    outcome = await worker.call(names[path.strip("/")], [("req", request)], new_trace())
    if outcome.value is None:
        return {"error": outcome.error}
    answer = outcome.value.value
    body = bytes(answer["body"].value)
    return {"status": int(answer["status_code"].value), "body": body.decode()}


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
