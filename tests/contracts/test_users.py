"""ports.Users."""

import pytest

from shared_code import errors
from shared_code.ports import Store
from tests.contracts.acting import within
from tests.contracts.samples import new_user


async def test_a_user_is_found_by_email_however_it_is_written(store: Store):
    user = new_user(email="ada@example.com")
    await within(store, lambda transaction: transaction.users.add(user))
    async with store.reading() as reading:
        assert await reading.users.get("ada@example.com") == user
        assert await reading.users.get("Ada@Example.COM") == user
        assert await reading.users.get("bob@example.com") is None


async def test_an_email_belongs_to_one_user(store: Store):
    user = new_user()
    await within(store, lambda transaction: transaction.users.add(user))
    with pytest.raises(errors.Conflict):
        await within(store, lambda transaction: transaction.users.add(new_user(email=user.email)))


@pytest.mark.parametrize("changes", [{"email": "Ada@example.com"}, {"email": "a@"}, {"role": "owner"}])
async def test_a_user_that_breaks_a_rule_is_refused(store: Store, changes: dict[str, str]):
    with pytest.raises(errors.InvalidBody):
        await within(store, lambda transaction: transaction.users.add(new_user(**changes)))
