"""The supervisor: starts the parts in order, keeps them running, and stops them all."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import psutil

from devstack import leftovers
from devstack.admin_key import with_admin_key
from devstack.console import Console
from devstack.jobs import JobWatch
from devstack.keeper import Keeper, State, listener
from devstack.kept import is_free, kept_ports, write_private
from devstack.parts import SERVICES, World
from devstack.process import (
    ROOT,
    Part,
    Process,
    StackError,
    failure,
    last_line,
    outcome,
    rotate_log,
    signal_group,
    spawn,
    start,
)
from devstack.settings import ADMIN_EMAIL, Options, credentials, kept_secrets
from devstack.signals import Signals, Stopped

TIME_TO_START = 60.0
TIME_TO_STOP_HOST, TIME_TO_STOP_REST = 3.0, 4.0


@dataclass(slots=True)
class Stack:
    options: Options
    console: Console
    signals: Signals
    world: World = field(init=False)
    keepers: dict[str, Keeper] = field(default_factory=dict[str, Keeper])

    def run(self) -> int:
        """Serves until asked to stop: 0. Cannot start: says why, 1. Either way nothing is left running."""
        code = 0
        try:
            self.start()
            self.serve()
        except Stopped:
            self.console.say("\nStopping…")
        except StackError as error:
            self.console.fail(str(error))
            code = 1
        finally:
            self.stop()
        return code

    def start(self) -> None:
        self.make_ready()
        self.start_services()
        self.migrate()
        self.make_admin()
        self.link_svix()
        self.start_host()
        self.publish()
        self.show_demo()
        self.tell_where()

    def make_ready(self) -> None:
        folder, gateway = self.options.folder, self.options.gateway_port
        self.options.credentials_file.unlink(missing_ok=True)
        if left := leftovers.clear(folder):
            self.console.say(f"Stopped what an earlier stack had left running: {', '.join(left)}.")
        if not is_free(gateway):
            raise StackError(port_taken(gateway))
        ports = kept_ports(folder / "ports.json", SERVICES, taken=[gateway])
        self.world = World(options=self.options, secrets=kept_secrets(self.options.secrets_file), ports=ports)
        self.console.headline(f"PinkSync on this machine; state in {shown(folder)}")

    def start_services(self) -> None:
        began, parts = time.monotonic(), self.world.services()
        for part in sorted(parts, key=lambda part: part.name == "postgres"):  # its first start takes a while
            self.launch(part)
        self.wait_for(parts, began)

    def start_host(self) -> None:
        part = self.world.host()
        self.write_local_settings()
        if not is_free(part.port):
            raise StackError(port_taken(part.port))
        began = time.monotonic()
        self.launch(part)
        self.wait_for([part], began)

    def write_local_settings(self) -> None:
        """The same settings as a file, for `func start`: copy it to the root of the repository."""
        content = {"IsEncrypted": False, "Values": self.world.environment()}
        write_private(self.options.folder / "local.settings.json", content)

    def launch(self, part: Part) -> None:
        self.signals.check()
        rotate_log(part.log)
        process = start(part)
        note = self.console.note
        self.keepers[part.name] = Keeper(part, process, process.pid, self.options.restart_seconds, note)
        self.record()

    def wait_for(self, parts: Iterable[Part], began: float) -> None:
        pending = {part.name: part for part in parts}
        while pending:
            for part in list(pending.values()):
                if self.is_up(part):
                    self.console.step(part.name, part.title, time.monotonic() - began)
                    del pending[part.name]
            if time.monotonic() - began > TIME_TO_START:
                raise StackError(too_slow(pending.values()))
            self.signals.wait(0.03)

    def is_up(self, part: Part) -> bool:
        keeper = self.keepers[part.name]
        if not keeper.process.alive():
            raise StackError(failure(keeper.process))
        if part.is_ready():
            keeper.state = State.UP
        return keeper.state is State.UP

    def migrate(self) -> None:
        url = self.world.postgres.url()
        self.task("database", "schema up to date", ["scripts.migrate"], {"MIGRATION_DATABASE_URL": url})

    def make_admin(self) -> None:
        self.world = with_admin_key(self.world)
        secrets = self.world.secrets
        given = {
            "PINKSYNC_BOOTSTRAP_API_KEY": secrets.admin_api_key,
            "PINKSYNC_BOOTSTRAP_PASSWORD": secrets.admin_password,
        }
        command = ["scripts.bootstrap_admin", "--email", ADMIN_EMAIL, "--json"]
        self.task("admin", f"{ADMIN_EMAIL} and its API key", command, given)

    def link_svix(self) -> None:
        """Svix's operational webhooks come back to the gateway, as an operator sets it up."""
        self.task("hints", "Svix tells the gateway what becomes of deliveries", ["scripts.operational_webhooks"], {})

    def task(self, name: str, title: str, command: list[str], extra: dict[str, str]) -> None:
        """Runs one of our own short programs, with the app's settings, to its end."""
        began, log = time.monotonic(), self.options.log(name)
        rotate_log(log)
        env = self.world.environment() | extra
        code = self.finish(spawn([sys.executable, "-m", *command], log=log, env=env, stdout="nowhere"))
        if code:
            raise StackError(f"{' '.join(command)} failed ({code}): {last_line(log)}. Log: {shown(log)}")
        self.console.step(name, title, time.monotonic() - began)

    def show_demo(self) -> None:
        if not self.options.with_demo or not importlib.util.find_spec("devstack.demo"):
            return
        self.console.say()
        command = [sys.executable, "-m", "devstack.demo", "--credentials", str(self.options.credentials_file)]
        log = self.options.log("demo")
        demo = spawn(command, log=log, stdout="terminal")
        if self.finish(demo):
            said = last_line(log)
            self.console.note("demo", f"did not get to its end ({outcome(demo)}: {said}); the stack runs on")

    def finish(self, process: subprocess.Popen[bytes]) -> str:
        """Waits for a program; says how it failed, or nothing."""
        try:
            while process.poll() is None:
                self.signals.wait(0.05)
        finally:
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
        return outcome(process) if process.returncode else ""

    def tell_where(self) -> None:
        options, say = self.options, self.console.say
        say()
        self.console.headline(f"PinkSync is ready after {self.console.elapsed():.1f} s.")
        say(f"  gateway      {options.base_url}")
        say(f"  API docs     {options.base_url}/api/docs")
        say(f"  credentials  {shown(options.credentials_file)}  (keys, addresses, process ids)")
        say(f"  logs         {shown(options.log('host').parent)}")
        say("Ctrl-C stops everything.")

    def serve(self) -> NoReturn:
        jobs = JobWatch(self.world.postgres.url(), self.console.note)
        while True:
            jobs.look(time.monotonic())
            changed = [keeper.look(time.monotonic()) for keeper in self.keepers.values()]
            if any(changed):
                self.record()
                self.publish()
            self.signals.wait(0.5)

    def publish(self) -> None:
        world, pids = self.world, {name: keeper.pid for name, keeper in self.keepers.items()}
        content = credentials(self.options, world.secrets, world.addresses(), pids)
        write_private(self.options.credentials_file, content)

    def record(self) -> None:
        leftovers.record(self.options.folder, {k.part.name: k.process.pid for k in self.keepers.values() if k.ours})

    def stop(self) -> None:
        self.options.credentials_file.unlink(missing_ok=True)
        ours = {name: keeper.process for name, keeper in self.keepers.items() if keeper.ours}
        host = ours.pop("host", None)
        self.stop_all([host] if host else [], TIME_TO_STOP_HOST)
        self.stop_all(ours.values(), TIME_TO_STOP_REST)
        (self.options.folder / leftovers.FILE).unlink(missing_ok=True)

    def stop_all(self, processes: Iterable[Process], grace: float) -> None:
        """Asks them all, then ends those that have not gone in time, or at once when asked a second time."""
        processes, asked = list(processes), self.signals.asked
        for process in processes:
            process.ask_to_stop()
        deadline = time.monotonic() + grace
        while any(process.alive() for process in processes):
            if time.monotonic() > deadline or self.signals.asked > asked:
                break
            self.signals.pause(0.1)
        for process in processes:
            process.kill()


def port_taken(port: int) -> str:
    by = ""
    with suppress(psutil.Error):
        if pid := listener(port):
            by = f" by {psutil.Process(pid).name()} (pid {pid})"
    return f"Port {port} is taken{by}. Stop that, or choose another: PINKSYNC_PORT={port + 1} make run"


def too_slow(parts: Iterable[Part]) -> str:
    waiting = [f"{part.name} (log: {shown(part.log)})" for part in parts]
    return f"No answer within {TIME_TO_START:.0f} s from {', '.join(waiting)}"


def shown(path: Path) -> str:
    """A path as short as it can be said from the repository."""
    return os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)
