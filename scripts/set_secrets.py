"""Put PinkSync's secrets into a Key Vault: `python -m scripts.set_secrets --vault NAME`. Safe to repeat.

Made here at random where the vault has none, and never changed without --rotate:
  KEY_PEPPER, CACHE_KEY, TOKEN_KEYRING, METRICS_TOKEN, SVIX_OPERATIONAL_SECRET
Taken from the environment variable of the same name where that is set, as others made them:
  SVIX_TOKEN, XANO_API_KEY
A name in the vault is the setting's in small letters with dashes: KEY_PEPPER is key-pepper. No value is ever shown.
Who is signed in to Azure (az login, or the workflow's identity) needs the role Key Vault Secrets Officer on the vault.

Exit code 0: every secret is there. 1: it failed, or one is missing. 2: a wrong command line. What it says of a secret
is done, even if it then fails: run it again for the rest.
"""

import argparse
import base64
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient


class Vault(Protocol):
    def get(self, name: str) -> str | None: ...

    def put(self, name: str, value: str) -> None: ...


class AzureVault:
    """Tries again three times where the vault is busy, as long apart as it asks for."""

    def __init__(self, url: str) -> None:
        self._client = SecretClient(url, DefaultAzureCredential(), retry_total=3, connection_timeout=5, read_timeout=20)

    def get(self, name: str) -> str | None:
        try:
            return self._client.get_secret(name).value
        except ResourceNotFoundError:
            return None

    def put(self, name: str, value: str) -> None:
        self._client.set_secret(name, value)


class Refused(Exception):
    """What was asked for would do harm; the message says what to do instead."""


INSIDE = "run it from inside the vault's network, or let this machine's address in for the while"
ADVICE = {
    "ForbiddenByRbac": "who is signed in needs the role Key Vault Secrets Officer, which takes some minutes to hold",
    "ForbiddenByFirewall": INSIDE,
    "ForbiddenByConnection": INSIDE,
    "Throttled": "the vault is busy; run it again in a minute",
}
"""What to do about the vault's own codes."""


def random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def new_keyring() -> str:
    return json.dumps({"k1": random_key()})


MADE: Mapping[str, Callable[[], str]] = {
    "KEY_PEPPER": random_key,
    "CACHE_KEY": random_key,
    "TOKEN_KEYRING": new_keyring,
    "METRICS_TOKEN": secrets.token_urlsafe,
    "SVIX_OPERATIONAL_SECRET": lambda: f"whsec_{random_key()}",
}
GIVEN = ("SVIX_TOKEN", "XANO_API_KEY")


def main(arguments: Sequence[str] | None = None, open_vault: Callable[[str], Vault] = AzureVault) -> int:
    options = parser().parse_args(arguments)
    missing = False
    try:
        vault = open_vault(options.vault)
        for name, outcome in check(vault) if options.check else work(vault, options):
            print(f"{name:<24}{outcome}", flush=True)
            missing |= outcome == "missing"
    except Refused as error:
        print(f"set_secrets: {error}", file=sys.stderr)
        return 1
    except (AzureError, ValueError) as error:  # ValueError: an address that is no vault's, a key ring that is none
        print(f"set_secrets: {reason(error)}", file=sys.stderr)
        return 1
    return 1 if missing else 0


def reason(error: AzureError | ValueError) -> str:
    """In one line: what the vault said, and what to do about it if that is known."""
    if not isinstance(error, HttpResponseError) or error.error is None:
        return f"{type(error).__name__}: {first_line(str(error))}"
    said = error.error
    code = (said.innererror or {}).get("code") or said.code
    advice = f" ({ADVICE[code]})" if code in ADVICE else ""
    return f"{error.status_code} {code}: {first_line(said.message or '')}{advice}"


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n\n")
    made = argparse.ArgumentParser(
        prog="python -m scripts.set_secrets",
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add(
        "--vault", required=True, type=vault_url, metavar="NAME", help="its name as in NAME.vault.azure.net, or its URL"
    )
    add("--check", action="store_true", help="only say what is there; changes nothing")
    add("--rotate", action="append", default=[], choices=sorted(MADE), help="make this one anew; may be repeated")
    add(
        "--retire",
        metavar="KID",
        help="take this old key out of TOKEN_KEYRING (ask scripts.keyring --may-drop first: what it seals is lost)",
    )
    add("--every-api-key-dies", action="store_true", help="needed to rotate KEY_PEPPER, as that is what it does")
    return made


def vault_url(text: str) -> str:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{2,23}", text):
        return f"https://{text}.vault.azure.net"
    if not text.startswith("https://"):
        raise argparse.ArgumentTypeError(f"{text} is neither a vault's name nor an https URL")
    return text


def check(vault: Vault) -> Iterator[tuple[str, str]]:
    for name in (*MADE, *GIVEN):
        yield name, "kept" if vault.get(stored_as(name)) else "missing"


def work(vault: Vault, options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    if "KEY_PEPPER" in options.rotate and not options.every_api_key_dies:
        raise Refused("a new KEY_PEPPER ends every API key and password; say --every-api-key-dies if that is meant")
    for name, make in MADE.items():
        old = vault.get(stored_as(name))
        if old is None:
            yield name, written(vault, name, make(), "made")
        elif name in options.rotate:
            yield name, written(vault, name, with_new_key(old) if name == "TOKEN_KEYRING" else make(), "rotated")
        elif name == "TOKEN_KEYRING" and options.retire:
            yield name, written(vault, name, without(old, options.retire), "retired a key")
        else:
            yield name, "kept"
    for name in GIVEN:
        yield name, as_given(vault, name)


def as_given(vault: Vault, name: str) -> str:
    old, given = vault.get(stored_as(name)), os.environ.get(name, "").strip()
    if given and given != old:
        return written(vault, name, given, "written")
    return "kept" if old else "missing"


def written(vault: Vault, name: str, value: str, outcome: str) -> str:
    vault.put(stored_as(name), value)
    return outcome


def with_new_key(keyring: str) -> str:
    """The newest stands first and encrypts; the old ones still decrypt."""
    old = json.loads(keyring)
    number = 1 + max((int(kid[1:]) for kid in old if kid[1:].isdecimal()), default=0)
    return json.dumps({f"k{number}": random_key(), **old})


def without(keyring: str, kid: str) -> str:
    old = json.loads(keyring)
    if kid == next(iter(old)):
        raise Refused(f"{kid} is the newest key of TOKEN_KEYRING; rotate first")
    if kid not in old:
        raise Refused(f"TOKEN_KEYRING has no key {kid}; it has {', '.join(old)}")
    return json.dumps({each: key for each, key in old.items() if each != kid})


def stored_as(name: str) -> str:
    return name.lower().replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
