"""Small documents that hosts share beside the ledger: audit entries, messages to send, directives, feedback, who leads.

Each has a kind, an id that is unique within it, an instant that lists are ordered by, and a body of JSON that only its own kind knows.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Document(msgspec.Struct, frozen=True):
    """One document. `body` is JSON text."""

    kind: str
    id: str
    at_ns: int
    body: str


class Documents(Protocol):
    """Synchronous; every call is a transaction of its own. Raises `StoreError`."""

    def add(self, document: Document) -> bool:
        """False: one of this kind and id is there, and stays as it is."""

    def put(self, document: Document) -> None:
        """Puts it in the place of what stood there."""

    def swap(self, document: Document, expected: str | None) -> bool:
        """Puts it only where the body that stands there is `expected` (None: nothing stands there); whether it did."""

    def get(self, kind: str, id: str) -> Document | None: ...

    def since(self, kind: str, at_ns: int = 0, limit: int | None = None) -> Sequence[Document]:
        """Those of a kind from an instant on, newest first."""

    def remove(self, kind: str, id: str) -> None: ...
