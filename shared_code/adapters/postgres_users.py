"""People who may sign in, in PostgreSQL."""

from dataclasses import asdict, dataclass

from shared_code.adapters.postgres_rows import Connection
from shared_code.model import User


@dataclass(frozen=True, slots=True)
class PostgresUsers:
    connection: Connection

    async def add(self, user: User) -> None:
        await self.connection.execute(
            """INSERT INTO users (email, password_hash, role, created_at)
               VALUES (%(email)s, %(password_hash)s, %(role)s, %(created_at)s)""",
            asdict(user),
        )

    async def get(self, email: str) -> User | None:
        found = await self.connection.execute(
            "SELECT email, password_hash, role, created_at FROM users WHERE email = %s", (email.lower(),)
        )
        row = await found.fetchone()
        return User(**row) if row else None
