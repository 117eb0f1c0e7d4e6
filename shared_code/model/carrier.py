"""`carrier`: a record that each request makes anew."""

from dataclasses import dataclass, field
from typing import dataclass_transform


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def carrier[T](cls: type[T]) -> type[T]:
    """`@dataclass(frozen=True, slots=True, kw_only=True)` to the type checker, which keeps it unchanged.

    While the program runs it is a plain slotted class: frozen ones set each field through `object.__setattr__`,
    which costs 7 to 14 µs of a request's 160 (docs/decisions/0011).
    """
    return dataclass(slots=True, kw_only=True)(cls)
