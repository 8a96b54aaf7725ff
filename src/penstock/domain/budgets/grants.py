"""What a book of grants may give: rows are raised in slices while there is plenty, by single reservations near the limit.

Amounts are whole units of an account. A call names several accounts, each once, and is granted on all of them or on none.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

SLICE: Final = 8
"""at most an eighth of what is left is given beyond what is needed"""


class Claim(msgspec.Struct, frozen=True):
    """What a holder wants of one account. `total`: all rows that count against `limit`, the holder's own `row` of this bucket included."""

    limit: int
    total: int
    row: int
    kept: int
    need: int
    want: int
    open: bool = True


class Grant(msgspec.Struct, frozen=True):
    """`row`: what the holder has now; `left`: what of the limit nobody holds, below 0 when it is overdrawn."""

    state: Literal["granted", "full", "closed"]
    row: int
    left: int


def decide(claims: Sequence[Claim]) -> list[Grant]:
    """One grant for each claim; `full` or `closed` on any of them raises no row.

    What was spent was spent: a row below `kept` is raised to it before anything is decided, also beyond the limit.
    """
    grants = [_needed(claim) for claim in claims]
    if any(grant.state != "granted" for grant in grants):
        return grants
    return [_sliced(claim, grant) for claim, grant in zip(claims, grants, strict=True)]


def _needed(claim: Claim) -> Grant:
    """Whether the need fits, nothing raised yet."""
    row = max(claim.row, claim.kept)
    left = claim.limit - claim.total - (row - claim.row)
    if not claim.open:
        return Grant("closed", row, left)
    missing = claim.kept + claim.need - row
    return Grant("full" if missing > 0 and missing > left else "granted", row, left)


def _sliced(claim: Claim, grant: Grant) -> Grant:
    """The row raised to the need, and beyond it while there is plenty."""
    floor = claim.kept + claim.need
    if floor <= grant.row:
        return grant
    row = max(floor, min(claim.kept + claim.want, grant.row + grant.left // SLICE))
    return Grant("granted", row, grant.left - (row - grant.row))
