"""`python -m benchmarks.load_app APP_ROOT`: imports and indexes an app once and prints the seconds it took.

What this file imports costs the app nothing afterwards, so it imports next to nothing.
"""

import os
import sys
import time
from pathlib import Path


def seconds_to_load(root: Path) -> float:
    began = time.perf_counter()
    import asyncio

    from devstack.functions_host.worker import Worker, arrange_import_path

    arrange_import_path(root)
    os.chdir(root)
    if not asyncio.run(Worker(root).load()):
        raise SystemExit(f"{root} has no functions")
    return time.perf_counter() - began


if __name__ == "__main__":
    print(seconds_to_load(Path(sys.argv[1]).resolve()), flush=True)
    os._exit(0)  # else the worker library's threads are waited for
