"""The pieces of a window hold each of its records once, and the coarse ones hold nothing else."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters.stores.cubes import HOUR_NS, LATENCY_CUBE, SUMS_CUBE
from penstock.adapters.stores.pieces import Piece, label, narrowed, pieces, runs
from penstock.domain.ledger.grouping import key_of
from penstock.domain.ledger.measures import CostQuery
from tests.ledger_entries import record

UNIT_NS = {"records": 1, "hour": HOUR_NS, "day": 24 * HOUR_NS}
INSTANT = st.builds(lambda hours, offset: hours * HOUR_NS + offset, st.integers(-30, 100), st.sampled_from([0, 1, -1, HOUR_NS // 3]))


def held(piece: Piece, instant: int) -> bool:
    if piece.level != "records" and instant < 0:
        return False
    return piece.since * UNIT_NS[piece.level] <= instant < piece.until * UNIT_NS[piece.level]


@given(st.lists(INSTANT, min_size=1, max_size=20), INSTANT, INSTANT, st.sampled_from([(), ("team",), ("hour",), ("user",)]))
def test_each_record_of_the_window_is_in_one_piece(instants: list[int], since: int, until: int, by: tuple[str, ...]) -> None:
    query = CostQuery(since_ns=since, until_ns=until, by=by)
    found = pieces(query, SUMS_CUBE, (min(instants), max(instants)))
    for instant in instants:
        assert sum(held(piece, instant) for piece in found) == (since <= instant < until)
    assert all(piece.since < piece.until for piece in found)
    assert "user" not in by or {piece.level for piece in found} <= {"records"}
    assert "hour" not in by or "day" not in {piece.level for piece in found}


def test_a_month_is_days_and_hours_and_the_last_minutes() -> None:
    query = CostQuery(since_ns=5 * HOUR_NS, until_ns=100 * HOUR_NS + 7, by=("tier",))
    assert pieces(query, SUMS_CUBE, (0, 200 * HOUR_NS)) == [
        Piece("records", 100 * HOUR_NS, 100 * HOUR_NS + 7), Piece("hour", 5, 24), Piece("day", 1, 4), Piece("hour", 96, 100)
    ]  # fmt: skip
    assert pieces(query, SUMS_CUBE, (6 * HOUR_NS, 100 * HOUR_NS)) == [Piece("day", 0, 5)], "nothing lies beyond the ledger's ends"
    assert {piece.level for piece in pieces(CostQuery(since_ns=0, until_ns=10**18, by=("team",)), LATENCY_CUBE, (0, 1))} == {"records"}


@given(st.sets(st.integers(0, 40), max_size=20))
def test_neighbouring_hours_run_together(hours: set[int]) -> None:
    found = list(runs(sorted(hours, reverse=True)))
    assert {hour for piece in found for hour in range(piece.since, piece.until)} == hours
    assert all(later.since > earlier.until for later, earlier in pairwise(found)), "newest first, with a gap between"


@given(st.sampled_from(["day", "hour"]), st.integers(0, 4 * 10**18))
def test_a_filter_on_time_is_a_window(key: str, instant: int) -> None:
    word = key_of(record("a", admitted_ns=instant), key)
    assert word == label(key, instant // UNIT_NS[key])
    query = narrowed(CostQuery(since_ns=0, until_ns=2**63 - 1, where=((key, word), ("team", "a"))))
    assert (query.since_ns, query.until_ns) == (instant // UNIT_NS[key] * UNIT_NS[key], (instant // UNIT_NS[key] + 1) * UNIT_NS[key])
    assert query.where == (("team", "a"),)
    nothing = narrowed(CostQuery(since_ns=0, until_ns=9, where=((key, f"{word}0"),)))
    assert nothing.since_ns >= nothing.until_ns
