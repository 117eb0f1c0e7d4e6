"""`python -m devstack.key_vault --port PORT --data DIR`: identity and switches on PORT, the vault where DIR says.

DIR/vault_url holds the vault's URL, DIR/certificate.pem what its clients must trust (SSL_CERT_FILE).
"""

import sys
from threading import Thread

import uvicorn

from devstack.key_vault import certificate
from devstack.key_vault.app import Vault
from devstack.serving import HOST, command_line, data_folder, listen, required, run, serve

ENVIRONMENT = "  DEVSTACK_IDENTITY_HEADER   what the app must send as X-IDENTITY-HEADER"


def start() -> None:
    wanted = command_line("key_vault", __doc__ or "", ENVIRONMENT).parse_args()
    header, identity, secure = required("DEVSTACK_IDENTITY_HEADER"), listen(wanted.port), listen(0)
    folder = data_folder(wanted.data)
    certificate_path, key_path = certificate.make(folder)
    vault = Vault(url=f"https://{HOST}:{secure.getsockname()[1]}", header=header)
    config = uvicorn.Config(
        vault.vault_app(),
        ssl_certfile=certificate_path,
        ssl_keyfile=str(key_path),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    Thread(target=lambda: uvicorn.Server(config).run(sockets=[secure]), daemon=True).start()
    (folder / "vault_url").write_text(vault.url)
    serve(vault.identity_app(), identity, "key_vault")


if __name__ == "__main__":
    sys.exit(run("key_vault", start))
