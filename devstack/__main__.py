"""`python -m devstack`: PinkSync and everything it needs, on this machine.

    run      (default) starts everything and serves until Ctrl-C
    clean    removes the local state

environment:
  PINKSYNC_PORT             the gateway's port (7071)
  DEVSTACK_DIR              the folder for state, logs and credentials.json (.devstack)
  DEVSTACK_DEMO             0 leaves out the demonstration
  DEVSTACK_SVIX_RETRY       when failed webhooks are sent again, in seconds (1,2,4,8,16,30,60)
  DEVSTACK_RESTART_SECONDS  how long a part that died stays down (10)
"""

import sys

if sys.version_info[:2] != (3, 13):
    sys.exit(f"PinkSync needs Python 3.13, this is {sys.version.split()[0]}: use `make run`, which finds the right one")

import argparse
import os
import shutil

from devstack import leftovers, postgres_files
from devstack.console import Console
from devstack.kept import claimed
from devstack.process import StackError
from devstack.settings import Options, options
from devstack.signals import Signals
from devstack.stack import Stack


def main() -> int:
    console = Console()
    asked = arguments()
    try:
        chosen = options(os.environ, with_demo=not asked.no_demo)
        return clean(chosen, console) if asked.action == "clean" else run(chosen, console)
    except StackError as error:
        console.fail(str(error))
        return 1


def arguments() -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__, formatter_class=plain)
    parser.add_argument("action", nargs="?", choices=("run", "clean"), default="run")
    parser.add_argument("--no-demo", action="store_true", help="start without the demonstration")
    return parser.parse_args()


def run(chosen: Options, console: Console) -> int:
    with claimed(chosen.folder), Signals() as signals:
        return Stack(chosen, console, signals).run()


def clean(chosen: Options, console: Console) -> int:
    if not chosen.folder.exists():
        console.say(f"Nothing to remove: there is no {chosen.folder}")
        return 0
    with claimed(chosen.folder):
        leftovers.clear(chosen.folder)
        postgres_files.remove(chosen.folder)
        shutil.rmtree(chosen.folder)
    console.say(f"Removed {chosen.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
