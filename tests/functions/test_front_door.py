"""Where a Front Door stands before the gateway, nobody comes in beside it."""

from pathlib import Path

import httpx

from tests.functions.stack import Stack, refused
from tests.services import start_host

ID = "6d0b6a4c-5d0f-4f6d-9a8c-000000000001"
ANOTHER = ID[:-1] + "2"


def test_only_what_came_through_our_own_front_door_is_served(stack: Stack, tmp_path: Path) -> None:
    with (
        start_host(tmp_path, {**stack.env, "FRONT_DOOR_ID": ID}, health="/admin/host/ping") as host,
        httpx.Client(base_url=host.url, headers=stack.admin, timeout=20, trust_env=False) as api,
    ):
        for path in ("/api/health", "/api/test", "/metrics", "/nowhere"):
            refused(api.get(path), 403, "not_through_front_door")
            refused(api.get(path, headers={"X-Azure-FDID": ANOTHER}), 403, "not_through_front_door")
        assert api.get("/api/health", headers={"X-Azure-FDID": ID}).status_code == 200
        assert api.get("/api/test", headers={"X-Azure-FDID": ID}).status_code == 200
