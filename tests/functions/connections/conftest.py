"""A partner that connects by OAuth, and its server."""

import httpx
import pytest

from tests.functions.oauth import Server, connected_partner, oauth_partner, put_settings
from tests.functions.stack import Connect, Connected, Headers


@pytest.fixture
def server(partner_url: str) -> Server:
    return Server(partner_url)


@pytest.fixture
def shop(api: httpx.Client, admin: Headers, connect: Connect, server: Server) -> Connected:
    """A partner with settings, not yet connected."""
    partner = oauth_partner(connect, server.url)
    put_settings(api, admin, partner, server.settings())
    return partner


@pytest.fixture
def connected(api: httpx.Client, admin: Headers, connect: Connect, server: Server) -> Connected:
    return connected_partner(api, admin, connect, server)
