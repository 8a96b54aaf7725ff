"""What a snapshot needs of a database: an open read transaction."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from penstock.adapters.stores.sql import Dialect


class Reading(Protocol):
    """An open read transaction on a store of the schema `version`. Both methods raise `StoreError`."""

    dialect: Dialect
    version: int

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Sequence[Any]]: ...

    def stream(self, sql: str, parameters: Sequence[Any]) -> Iterator[Sequence[Any]]:
        """Row by row, so that a large answer is never held whole."""
