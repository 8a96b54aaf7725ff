"""The book of grants: which holder (a data worker) may have spent how much of which account, so that their sum never passes a limit.

An account is a budget or a rate limit, its amounts whole units (nano-USD, GPU-microseconds, requests, tokens). A row (account, bucket,
holder) is what that holder may have spent in that bucket of time, in all, ever. Rows are absolute, so every call may be repeated. The
holder `LEDGER` stands for what the ledger says that no live holder spent; without its row an account is closed, unless the bucket began
after the account was opened, or the ask says that nothing was spent before (`fresh`).
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

LEDGER: Final = "ledger"
"""the holder of what was spent by nobody who lives: writers that are gone, and what came before the book"""
LEASE_S: Final = 10.0
"""without an answer of a book that hosts share for so long, what was drawn from it may not be spent any more"""
BESIDE: Final = "beside"
"""the holder of spend without a request: idle hours, recorded runs, other costs"""


class BookError(Exception):
    """The book cannot be asked (away, refused, not there). `hint` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class Ask(msgspec.Struct, frozen=True):
    """What a holder wants of one account: its row in `bucket` raised to `kept + need` at least, to `kept + want` if there is plenty."""

    account: str
    bucket: int
    since: int
    """rows of buckets from here on count against `limit`"""
    limit: int
    kept: int
    """what this holder has spent and holds in this bucket: its row is never below"""
    need: int
    want: int
    fresh: bool = False
    """nothing was spent before the book: the account needs no opening"""


class Answer(msgspec.Struct, frozen=True):
    """`row`: what the holder now has in that bucket; `left`: what of the limit nobody holds, below 0 when it is overdrawn."""

    state: Literal["granted", "full", "closed"]
    row: int
    left: int


class Row(msgspec.Struct, frozen=True):
    account: str
    bucket: int
    holder: str
    amount: int


class Holder(msgspec.Struct, frozen=True):
    """A data worker that is known to the book. `seen_ns`: its last call."""

    name: str
    host: str
    seen_ns: int


class BudgetBook(Protocol):
    """Every method is one atomic decision, and raises `BookError` when the book cannot be asked."""

    async def ask(self, holder: str, asks: Sequence[Ask]) -> list[Answer]:
        """All are granted, or none is: then no row is raised, and the states say which are full or closed."""

    async def keep(self, holder: str, host: str, rows: Mapping[tuple[str, int], int]) -> None:
        """Sets the holder's rows for these (account, bucket) to what it keeps; 0 removes. Also says that it lives. A row may be raised
        so: what was spent was spent."""

    async def leave(self, holder: str, rows: Mapping[tuple[str, int], int]) -> None:
        """The holder ends: these are its rows for good, moved to `LEDGER`; all others of its rows go."""

    async def born_ns(self) -> int:
        """When this book was begun, unix ns: a book that lost its data begins anew."""

    async def holders(self) -> list[Holder]: ...

    async def rows(self, accounts: Sequence[str] | None = None) -> list[Row]: ...

    async def opened(self) -> dict[str, int]:
        """account -> unix ns of its opening; accounts that are not open are absent."""

    async def open(self, account: str, spent: Mapping[int, int], holders: Sequence[str], at_ns: int) -> bool:
        """Opens an account: `spent` by bucket is the row of `LEDGER`, from a reading of the ledger without these live holders. False,
        and nothing changed: other holders live by now."""

    async def retire(self, holder: str, spent: Mapping[tuple[str, int], int]) -> bool:
        """A holder that died: what the ledger says it spent is added to `LEDGER`, its rows go. False: it was retired before."""

    async def set_beside(self, account: str, amounts: Mapping[int, int]) -> None:
        """Sets the rows of `BESIDE` by bucket; those of other buckets go."""

    async def forget(self, before: Mapping[str, int]) -> None:
        """Removes rows of buckets before the given one, by account."""

    async def close(self) -> None: ...
