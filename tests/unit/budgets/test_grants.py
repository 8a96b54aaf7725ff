"""What a book of grants may give never passes the limit, and near it nothing more is given than is needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.budgets.grants import SLICE, Claim, Grant, decide

AMOUNT = st.integers(0, 10**12)
CLAIM = st.builds(
    lambda limit, others, row, kept, need, more, open: Claim(limit, others + row, row, kept, need, need + more, open),
    AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT, st.booleans(),
)  # fmt: skip


def claim(limit: int, total: int, row: int = 0, kept: int = 0, need: int = 0, want: int = 0, open: bool = True) -> Claim:
    return Claim(limit, total, row, kept, need, want, open)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (claim(800, 0, need=10, want=500), Grant("granted", 100, 700)),
        (claim(800, 0, need=10, want=30), Grant("granted", 30, 770)),
        (claim(800, 0, need=300, want=500), Grant("granted", 300, 500)),
        (claim(800, 790, need=10, want=500), Grant("granted", 10, 0)),
        (claim(800, 790, need=11, want=500), Grant("full", 0, 10)),
        (claim(800, 100, row=50, kept=30, need=20, want=90), Grant("granted", 50, 700)),
        (claim(800, 900, row=50, kept=30, need=20, want=90), Grant("granted", 50, -100)),
        (claim(800, 0, need=10, want=500, open=False), Grant("closed", 0, 800)),
        (claim(800, 50, row=50, kept=30, need=20, open=False), Grant("closed", 50, 750)),
        (claim(800, 790, row=50, kept=70, need=5, want=5), Grant("full", 70, -10)),
        (claim(800, 790, row=50, kept=70), Grant("granted", 70, -10)),
        (claim(800, 0, need=10, want=0), Grant("granted", 10, 790)),
    ],
    ids=[
        "an eighth while there is plenty", "no more than is wanted", "all that is needed", "the last of it", "one too many",
        "held already", "held already, though overdrawn", "closed", "closed, whatever is held", "overrun, and more needed", "only overrun",
        "wanting less than is needed",
    ],
)  # fmt: skip
def test_one_account(asked: Claim, given: Grant) -> None:
    assert decide([asked]) == [given]


def test_all_or_nothing_and_the_states_say_why() -> None:
    plenty, full, closed = claim(800, 0, need=10, want=500), claim(5, 0, need=10), claim(800, 0, need=1, open=False)
    assert decide([plenty, full, closed]) == [Grant("granted", 0, 800), Grant("full", 0, 5), Grant("closed", 0, 800)]
    assert decide([plenty, closed])[0].row == 0
    assert decide([]) == []


@given(st.lists(CLAIM, max_size=4))
def test_no_grant_passes_the_limit(claims: list[Claim]) -> None:
    grants = decide(claims)
    every = all(grant.state == "granted" for grant in grants)
    for asked, grant in zip(claims, grants, strict=True):
        forced, total = max(asked.row, asked.kept), asked.total - asked.row + grant.row
        assert grant.left == asked.limit - total and grant.row >= forced
        assert grant.row == forced or (every and total <= asked.limit)
        assert not every or grant.row >= asked.kept + asked.need
        assert (grant.state == "closed") == (not asked.open)


@given(st.integers(SLICE, 10**9), st.integers(1, 1000))
def test_one_by_one_the_whole_limit_can_be_used(limit: int, holders: int) -> None:
    """Slices shrink: of what several holders took and did not need, less than an eighth of the limit each remains."""
    total, rows = 0, [0] * min(holders, 8)
    for number in range(len(rows)):
        [grant] = decide([claim(limit, total, need=1, want=limit)])
        total, rows[number] = total + grant.row, grant.row
        if grant.state == "granted":
            assert grant.row <= max(1, limit // SLICE)
    assert decide([claim(limit, total, need=limit - total, want=limit)])[0].left == 0


@given(st.integers(1, 10**6))
def test_a_single_holder_can_use_it_to_the_last_unit(limit: int) -> None:
    row = steps = 0
    while row < limit:
        [grant] = decide([claim(limit, row, row=row, kept=row, need=1, want=limit)])
        assert grant.state == "granted"
        row, steps = grant.row, steps + 1
    assert decide([claim(limit, row, row=row, kept=row, need=1)])[0].state == "full"
    assert steps <= 200, "slices, not single units"
