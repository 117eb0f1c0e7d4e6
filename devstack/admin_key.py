"""The stack's own admin key: the same at every start, until it is one that no longer works."""

from dataclasses import replace

import psycopg

from devstack.parts import World
from devstack.settings import api_key, keep_secrets
from shared_code.services.key_format import KEY_ID_LENGTH

DEAD = """
SELECT revoked_at IS NOT NULL OR expires_at <= now() OR NOT 'admin' = ANY (scopes)
FROM api_keys WHERE key_id = %s"""


def with_admin_key(world: World) -> World:
    """The same stack; with a new admin key, and that one kept, if somebody revoked, rotated or changed the old one."""
    if not is_dead(world.secrets.admin_api_key, world.postgres.url()):
        return world
    secrets = replace(world.secrets, admin_api_key=api_key())
    keep_secrets(world.options.secrets_file, secrets)
    return replace(world, secrets=secrets)


def is_dead(key: str, database_url: str) -> bool:
    """One that the gateway has not seen yet is not."""
    with psycopg.connect(database_url, connect_timeout=5) as connection:
        found = connection.execute(DEAD, (key[:KEY_ID_LENGTH],)).fetchone()
    return bool(found and found[0])
