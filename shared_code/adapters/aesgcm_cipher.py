"""Secrets at rest under AES-256-GCM (facts/security.md 2.4): `v1.<kid>.<base64url(nonce + ciphertext + tag)>`.

Owner, field and key id are authenticated with the text, so a value moved to another row or field does not open.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared_code import errors

NONCE_BYTES = 12


@dataclass(slots=True, eq=False)
class AesGcmCipher:
    keyring: Mapping[str, bytes] = field(repr=False)
    """kid → 32-byte key, newest first: the first seals, all open. Another ring may be put in its place at any time."""

    @property
    def kids(self) -> Sequence[str]:
        return list(self.keyring)

    def seal(self, plain: bytes, owner: str, field: str) -> str:
        kid, key = next(iter(self.keyring.items()))
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(key).encrypt(nonce, plain, associated(kid, owner, field))
        return f"v1.{kid}.{urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, owner: str, field: str) -> bytes:
        try:
            version, kid, text = sealed.split(".")
            raw = urlsafe_b64decode(text)
            if version != "v1" or len(raw) <= NONCE_BYTES:
                raise ValueError("not an envelope of ours")
            return AESGCM(self.keyring[kid]).decrypt(
                raw[:NONCE_BYTES], raw[NONCE_BYTES:], associated(kid, owner, field)
            )
        except (ValueError, KeyError, InvalidTag) as error:
            raise errors.PinkSyncError("A stored secret cannot be decrypted.") from error


def associated(kid: str, owner: str, field: str) -> bytes:
    return f"pinksync|v1|{kid}|{owner}|{field}".encode()
