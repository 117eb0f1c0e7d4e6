"""Starts the server, or prints a token."""

import argparse
import asyncio
import logging
import os
import resource
import socket
import sys
from pathlib import Path

from devstack.svix_server.auth import DEFAULT_ORG, app_token, org_token
from devstack.svix_server.settings import ENVIRONMENT, Settings, SettingsError
from devstack.svix_server.store import StoreError

PROGRAM = "python -m devstack.svix_server"


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        settings = Settings.from_environment(os.environ)
        return _token(settings, options) if options.command == "token" else _serve(settings, options)
    except (SettingsError, StoreError) as error:
        print(f"svix: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A Svix-compatible server: the official Svix SDK talks to it, and it really delivers.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, help="port to listen on (required to serve; 0 picks a free one)")
    parser.add_argument("--data", type=Path, help="directory for its state, made if need be (required to serve)")
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    commands = parser.add_subparsers(dest="command", metavar="token")
    token = commands.add_parser("token", help="print a token for the SDK and leave")
    token.add_argument("--org", default=DEFAULT_ORG, help=f"organisation id (default {DEFAULT_ORG})")
    token.add_argument("--app", help="application id: print that application's portal token instead")
    return parser


def _token(settings: Settings, options: argparse.Namespace) -> int:
    secret = settings.jwt_secret
    print(app_token(secret, options.app, options.org) if options.app else org_token(secret, options.org))
    return 0


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    if options.port is None or options.data is None:
        raise SettingsError(f"--port and --data are required; see {PROGRAM} --help")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="svix %(asctime)s %(message)s")
    try:
        listening = _listen(options.bind, options.port)
    except OSError as error:
        print(f"svix: cannot listen on {options.bind}:{options.port}: {error.strerror}", file=sys.stderr)
        return 1
    # Only here: printing a token needs none of it, and it is slow to load.
    import uvloop

    from devstack.svix_server.serving import serve

    _allow_many_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, options.data, listening))
    return 0


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, port))
    listening.listen(2048)
    return listening


def _allow_many_files() -> None:
    """Every slow endpoint may hold some connections open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
