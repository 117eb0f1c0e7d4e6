"""People who may sign in, in memory."""

from dataclasses import dataclass

from shared_code.adapters.memory_rows import View
from shared_code.model import User


@dataclass(frozen=True, slots=True)
class MemoryUsers:
    users: View[str, User]

    async def add(self, user: User) -> None:
        await self.users.add(user.email, user)

    async def get(self, email: str) -> User | None:
        return self.users.get(email.lower())
