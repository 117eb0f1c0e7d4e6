"""The audit archive with tokens of a managed identity, through Microsoft's own SDK.

On an Azurite that takes such tokens alone: over TLS, of an Entra issuer, for storage, in their time.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from uuid import UUID, uuid4

import httpx
import pytest

from shared_code import errors
from shared_code.adapters.azure_identity import AzureIdentity
from shared_code.adapters.tables_audit_archive import TablesAuditArchive, by_identity
from shared_code.adapters.tables_probe import table_probe
from shared_code.model import AuditLink, AuditRow, Health
from shared_code.model.archive import linked, new_head
from shared_code.ports import AuditFilter
from tests import services
from tests.contracts.samples import NOW, SECOND, new_entry
from tests.key_vault import KeyVault, running_key_vault

STORAGE = "https://storage.azure.com"


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyVault]:
    """For its identity endpoint and its certificate."""
    with running_key_vault(tmp_path_factory.mktemp("identity")) as running:
        yield running


@pytest.fixture(scope="module")
def azurite(vault: KeyVault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("azurite")
    with services.start_secure_azurite(folder, vault.certificate, vault.key) as running:
        yield running.url


@pytest.fixture(autouse=True)
def _in_azure(vault: KeyVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in App Service; and the certificate is trusted, which aiohttp can only be told before its import."""
    for name, value in vault.identity.items():
        monkeypatch.setenv(name, value)
    trusting = ssl.create_default_context(cafile=str(vault.certificate))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusting)


@pytest.fixture
async def identity() -> AsyncIterator[AzureIdentity]:
    made = AzureIdentity()
    yield made
    await made.close()


@pytest.fixture
async def archive(azurite: str, identity: AzureIdentity) -> AsyncIterator[TablesAuditArchive]:
    made = TablesAuditArchive(by_identity(azurite, identity), f"archive{uuid4().hex}")
    yield made
    await made.close()


def chain(length: int) -> list[AuditLink]:
    entries = [new_entry(partner_id=UUID(int=7), created_at=NOW + index * SECOND) for index in range(length)]
    return list(linked([AuditRow(number=index + 1, entry=entry) for index, entry in enumerate(entries)], None))


async def test_rows_are_written_and_read_by_token(archive: TablesAuditArchive, vault: KeyVault) -> None:
    links = chain(130)
    head = new_head(None, links)
    await archive.put(links)
    await archive.put(links)
    assert await archive.read(head, AuditFilter(), None, 200) == links[::-1]
    assert await archive.count(head, AuditFilter(), 1000) == 130
    assert [each.link async for each in archive.all()] == links[::-1]
    assert STORAGE in vault.known()["tokens"].values()


async def test_storage_that_takes_the_identity_is_ready(azurite: str, identity: AzureIdentity) -> None:
    assert await table_probe(by_identity(azurite, identity)) is Health.OK


async def test_a_gateway_without_an_identity_has_no_archive_until_it_has_one(
    archive: TablesAuditArchive, vault: KeyVault
) -> None:
    links = chain(1)
    vault.fail("identity", 403)
    try:
        with pytest.raises(errors.ArchiveUnavailable):
            await archive.put(links)
    finally:
        vault.heal()
    await archive.put(links)
    assert await archive.read(new_head(None, links), AuditFilter(), None, 10) == links


async def test_this_storage_takes_tokens_for_storage_and_no_others(azurite: str, vault: KeyVault) -> None:
    """Else the tests above would prove nothing."""
    trusting = ssl.create_default_context(cafile=str(vault.certificate))
    asking = {"x-ms-version": "2019-02-02", "Accept": "application/json;odata=nometadata"}
    async with httpx.AsyncClient(verify=trusting, headers=asking) as client:

        async def asked(authorization: str) -> int:
            return (await client.get(f"{azurite}/Tables", headers={"Authorization": authorization})).status_code

        assert await asked(f"Bearer {vault.token(STORAGE)}") == 200
        for refused in (vault.token("https://vault.azure.net"), "no-token"):
            assert await asked(f"Bearer {refused}") == 403
