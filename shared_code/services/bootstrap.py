"""The first admin: made once by an operator's command, from secrets the operator gives. No default anywhere."""

from dataclasses import dataclass

from shared_code import errors
from shared_code.model import User
from shared_code.ports import Clock, KeyHasher, Store
from shared_code.services.api_keys import KeyRing, NewKey
from shared_code.services.audit import Fact, note, system_caller
from shared_code.services.key_format import mint, parse

SHORTEST_PASSWORD = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAdmin:
    email: str
    key_id: str
    api_key: str | None
    """None when the key was there already: nobody can show it again."""
    created: bool


@dataclass(frozen=True, slots=True)
class Bootstrap:
    store: Store
    ring: KeyRing
    passwords: KeyHasher
    now: Clock

    async def first_admin(self, email: str, password: str, api_key: str | None) -> FirstAdmin:
        """Safe to repeat with the same secrets: what is there already stays as it is."""
        check_admin(email, password)
        given = parse(api_key, self.ring.key_mode) if api_key else mint(self.ring.key_mode)
        if given is None:
            raise errors.BadRequest("The given API key is not well formed, or not of this deployment's mode.")
        caller, now = system_caller("bootstrap"), self.now()
        async with self.store.transaction() as transaction:
            if await transaction.users.get(email) is None:
                hashed = await self.passwords.hash(password)
                await transaction.users.add(User(email=email, password_hash=hashed, role="admin", created_at=now))
            if await transaction.keys.get(given.key_id):
                return FirstAdmin(email=email, key_id=given.key_id, api_key=None, created=False)
            minted = await self.ring.mint(NewKey(name="first admin", scopes=("admin",)), caller.actor, now, given)
            await transaction.keys.add(minted.row)
            fact = Fact(event_type="admin.created", message=f"First admin {email} was made.", target=given.key_id)
            await note(transaction, caller, fact, now)
        return FirstAdmin(email=email, key_id=given.key_id, api_key=minted.api_key, created=True)


def check_admin(email: str, password: str) -> None:
    if email != email.lower() or not 3 <= len(email) <= 254 or email.count("@") != 1:
        raise errors.BadRequest("The e-mail address must be one address in lower case.")
    if len(password) < SHORTEST_PASSWORD:
        raise errors.BadRequest(f"The password must have at least {SHORTEST_PASSWORD} characters.")
