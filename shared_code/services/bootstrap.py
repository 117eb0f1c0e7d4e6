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
    key_id: str | None
    """None when nobody asked for a particular key and the admin was there already: no other one is made."""
    api_key: str | None
    """None when the key was there already: nobody can show it again."""
    created: bool
    password_set: bool
    """Whether the password is now the admin's; one who was there keeps the old one."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    store: Store
    ring: KeyRing
    passwords: KeyHasher
    now: Clock

    async def first_admin(self, email: str, password: str, api_key: str | None) -> FirstAdmin:
        """Safe to repeat, with the same API key or with none: what is there already stays as it is."""
        check_admin(email, password)
        given = parse(api_key, self.ring.key_mode) if api_key else mint(self.ring.key_mode)
        if given is None:
            raise errors.BadRequest("The given API key is not well formed, or not of this deployment's mode.")
        caller, now = system_caller("bootstrap"), self.now()
        async with self.store.transaction() as transaction:
            is_new = await transaction.users.get(email) is None
            if is_new:
                hashed = await self.passwords.hash(password)
                await transaction.users.add(User(email=email, password_hash=hashed, role="admin", created_at=now))
            elif not api_key:
                return FirstAdmin(email=email, key_id=None, api_key=None, created=False, password_set=False)
            if await transaction.keys.get(given.key_id):
                return FirstAdmin(email=email, key_id=given.key_id, api_key=None, created=False, password_set=is_new)
            minted = await self.ring.mint(NewKey(name="first admin", scopes=("admin",)), caller.actor, now, given)
            await transaction.keys.add(minted.row)
            fact = Fact(event_type="admin.created", message=f"First admin {email} was made.", target=given.key_id)
            await note(transaction, caller, fact, now)
        return FirstAdmin(email=email, key_id=given.key_id, api_key=minted.api_key, created=True, password_set=is_new)


def check_admin(email: str, password: str) -> None:
    if email != email.lower() or not 3 <= len(email) <= 254 or email.count("@") != 1:
        raise errors.BadRequest("The e-mail address must be one address in lower case.")
    if len(password) < SHORTEST_PASSWORD:
        raise errors.BadRequest(f"The password must have at least {SHORTEST_PASSWORD} characters.")
