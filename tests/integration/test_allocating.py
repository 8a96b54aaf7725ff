"""Own fleets' hours on a real ledger, on the fly: however the time is cut, every nano-USD of rent stands once."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.record import UsageRecord, WastedWork
from penstock.finops.allocating import run_of, stretches, work_of
from tests.integration.allocating_rig import (
    HOUR,
    METERS,
    MINUTE,
    OTHER,
    RENT,
    SCALES,
    T0,
    TRAFFIC,
    Site,
    assert_every_dollar_once,
    call,
    ordered,
    reading,
    training,
)
from tests.ledger_entries import RECORD, record


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    url = f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    site = Site(url, tmp_path)
    yield site
    site.store.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    site = Site(f"sqlite:///{tmp_path}/ledger.db", tmp_path)
    yield site
    site.store.close()


@pytest.fixture
def starts() -> Iterator[int]:
    """Begins of stretches of time, one for each Hypothesis example."""
    return itertools.count(T0, 100 * HOUR_NS)


def test_any_cut_adds_up_to_the_rent(site: Site) -> None:
    site.configured(OTHER)
    site.take(*TRAFFIC)
    end = T0 + 5 * HOUR_NS
    for marks in ([T0, end], [T0, T0 + 7, T0 + 90 * MINUTE, T0 + 2 * HOUR_NS, T0 + 2 * HOUR_NS + 1, end]):
        cut = [pair for since, until in pairwise(marks) for pair in site.pieces(since, until, now=end)]
        assert_every_dollar_once(cut)
        assert sum(hour.rent or 0 for hour, _ in cut if hour.fleet == "l40s") == 5 * RENT
        assert sum(hour.rent or 0 for hour, _ in cut if hour.fleet == "h100") == 5 * 2_500_000_000
        assert {share.request_id for _, shares in cut for share in shares} == {"first", "b", "spans", "failed", "c", "last"}


def test_pieces_are_clipped_to_the_ledger_the_price_and_now(here: Site) -> None:
    here.configured(OTHER)
    price_ns = 1_767_571_200 * 10**9
    assert here.pieces(T0, T0 + HOUR_NS) == [], "an empty ledger has no begin"
    here.take(record("old", admitted_ns=price_ns - 90 * MINUTE), record("new", admitted_ns=price_ns + 5 * HOUR_NS))
    found = here.pieces(0, 2**63 - 1, now=price_ns + 30 * MINUTE)
    assert {(hour.fleet, hour.since_ns - price_ns, hour.until_ns - price_ns) for hour, _ in found} == {
        ("l40s", -90 * MINUTE, -60 * MINUTE), ("l40s", -60 * MINUTE, 0), ("l40s", 0, 30 * MINUTE), ("h100", 0, 30 * MINUTE)
    }  # fmt: skip


def test_records_on_the_journal_count_as_stored_ones_do(here: Site) -> None:
    here.take(TRAFFIC[0])
    before = here.pieces(T0, T0 + 5 * HOUR_NS, pending=TRAFFIC[1:])
    here.take(*TRAFFIC[1:])
    assert ordered(before) == ordered(here.pieces(T0, T0 + 5 * HOUR_NS))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(RECORD, max_size=6))
def test_the_journal_and_the_store_mean_the_same_work(site: Site, starts: Iterator[int], drawn: list[UsageRecord]) -> None:
    start = next(starts)
    records = [msgspec.structs.replace(each, id=f"{start} {n}", admitted_ns=start + n) for n, each in enumerate(drawn)]
    site.take(*records)
    fleets = {each.fleet for each in records} | {tried.fleet for each in records for tried in each.wasted_work}
    with site.store.snapshot() as snapshot:
        found = list(snapshot.costs.works([name for name in fleets if name is not None], start, start + HOUR_NS))
    assert found == [work for each in records if (work := work_of(each)) is not None]


def test_the_running_hour_goes_on_as_prometheus_told_last(here: Site) -> None:
    here.configured(SCALES + METERS)
    here.take(call("a", 0))
    here.costs.put_engine_hours([reading(HOUR, runs=((T0, 1), (T0 + 30 * MINUTE, 4)))])
    found = {hour.hour - HOUR: hour for hour, _ in here.pieces(T0, T0 + 4 * HOUR_NS) if hour.fleet == "scales"}
    assert [found[n].rent for n in range(4)] == [7_500_000_000, 12_000_000_000, 12_000_000_000, None]
    assert "told of last" in found[1].note
    assert "not asked yet" in found[3].note


def test_recorded_runs_as_gpu_time() -> None:
    assert (run := run_of(training(gpus="0", gpu_hours="3", lost_gpu_hours="0.75"))) is not None
    assert (run.units, run.lost) == (Fraction(3, 2), Fraction(1, 4))
    assert (whole := run_of(training(lost_gpu_hours="9"))) is not None
    assert (whole.units, whole.lost) == (Fraction(1), Fraction(1))
    for nothing in (training(gpus="0"), training(fleet=None), training(gpu_hours="0")):
        assert run_of(nothing) is None


def test_a_try_on_another_pool_is_its_waste(here: Site) -> None:
    here.configured(OTHER)
    here.take(call("a", 5, wasted_work=(WastedWork("h100", Tokens(10, 0, 0, 10, 0)), WastedWork("gone", Tokens(1, 0, 0, 1, 0)))))
    pairs = {hour.fleet: (hour, shares) for hour, shares in here.pieces(T0, T0 + 1 * HOUR_NS)}
    assert_every_dollar_once(list(pairs.values()))
    assert pairs["l40s"][0].waste == 0 < pairs["l40s"][0].used
    assert pairs["h100"][0].used == 0 < pairs["h100"][0].waste


def test_an_hour_holds_the_same_whatever_is_looked_at_with_it(here: Site) -> None:
    here.take(call("endless", 10, 40 * 60), call("other", 26 * 60))
    whole = here.pieces(T0, T0 + 30 * HOUR_NS)
    cut = [pair for hour in range(30) for pair in here.pieces(T0 + hour * HOUR_NS, T0 + (hour + 1) * HOUR_NS, now=T0 + 30 * HOUR_NS)]
    assert ordered(cut) == ordered(whole)
    assert max(hour.hour for hour, shares in whole for share in shares if share.request_id == "endless") == HOUR + 24


def test_hours_that_follow_each_other() -> None:
    assert list(stretches([])) == []
    assert list(stretches([3, 4, 7, 9, 10])) == [(3, 5), (7, 8), (9, 11)]
