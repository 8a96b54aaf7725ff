"""What budgets count beside requests: with these it is every dollar of the statement, by hour as well as over the window."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.adapters.stores import open_costs
from penstock.config.settings import Settings
from penstock.config.spending import Budget
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Entry
from penstock.domain.ledger.measures import CostQuery
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.ledger.recorded import accrued_cost
from penstock.finops.books import Books
from penstock.finops.budgets.beside import LEFT_OUT, BesideRequests, beside
from penstock.finops.budgets.standing import budget_standings
from penstock.finops.ledger import Ledger
from penstock.finops.other_costs import other_cost
from penstock.finops.statement import statement
from tests.integration.test_statement import ENTRY, RECORDS, SPAN_H, T0, Drawn, Site, records_of, site_of
from tests.ledger_entries import record

EVERYTHING: dict[str, str] = {}
GPU_HOUR = 3_600_000_000


@contextmanager
def books_of(site: Site, configured: Settings | None = None) -> Iterator[Books]:
    with site.store.snapshot() as snapshot:
        yield Books(configured or site.settings, Ledger(snapshot, site.tail), T0 + SPAN_H * HOUR_NS, lambda fleet: None)


def cheap(found: list[UsageRecord]) -> list[UsageRecord]:
    """As booked, but at so little that no hour's requests are booked at more than the hour's rent."""
    names = ("cost", "wasted_cost", "provisional")
    return [
        msgspec.structs.replace(each, **{name: None if (value := getattr(each, name)) is None else value // 10_000 for name in names})
        for each in found
    ]


@given(rows=RECORDS, hours=st.tuples(st.integers(0, SPAN_H), st.integers(0, SPAN_H)), closed=st.booleans())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_requests_and_what_is_beside_them_are_the_statement(rows: list[Drawn], hours: tuple[int, int], closed: bool) -> None:
    since, until = (T0 + hour * HOUR_NS for hour in sorted(hours))
    with TemporaryDirectory() as folder:
        site = Site(Path(folder), cheap(records_of(rows)), closed=closed)
        with books_of(site) as books:
            query = CostQuery(since_ns=since, until_ns=until)
            whole = beside(books, EVERYTHING, "USD", since, until)
            assert books.ledger.total(query).cost + whole.amount == statement(books, query).total
            by_hour = BesideRequests(books).by_hour(EVERYTHING, "USD", since // HOUR_NS, until // HOUR_NS)
            assert sum(by_hour.values()) == pytest.approx(whole.amount, abs=20), "other costs are rounded once an hour"


def test_requests_booked_above_the_rent_count_as_booked(tmp_path: Path) -> None:
    dear = record("dear", admitted_ns=T0, upstream="own", fleet="l40s", model="m", tokens=Tokens(1, 0, 0, 1, 0), cost=90 * 10**9)
    with books_of(Site(tmp_path, [dear], closed=True, tail=False)) as books:
        over = beside(books, {"upstream": "own"}, "USD", T0, T0 + HOUR_NS)
        weights = other_cost(books.settings.costs["weights"], T0, T0 + HOUR_NS, "UTC")
        assert over.amount == weights, "the rent of both fleets behind the upstream is less than what was booked"
        later = beside(books, {"upstream": "own"}, "USD", T0 + HOUR_NS, T0 + 2 * HOUR_NS)
        assert later.amount > 5 * 10**9


def test_a_fleets_budget_counts_its_rent_and_a_teams_does_not(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    with books_of(site) as books:
        query = CostQuery(since_ns=T0, until_ns=T0 + 4 * HOUR_NS)
        stated = statement(books, query)
        rent = sum(hour.rent or 0 for hour in stated.hours if hour.fleet == "mig")
        unpriced = beside(books, {"fleet": "mig"}, "USD", query.since_ns, query.until_ns)
        assert unpriced.amount == rent
        assert beside(books, {"gpu": "A100-80GB"}, "USD", query.since_ns, query.until_ns).amount == rent
        support = beside(books, {"team": "support"}, "USD", query.since_ns, query.until_ns)
        assert (support.amount, support.note) == (0, LEFT_OUT)


def test_a_recorded_run_counts_for_its_team_wherever_it_ran(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    rented = Entry(
        id="run-2", kind="training_run", name="rented", since_ns=T0, until_ns=T0 + 8 * HOUR_NS, recorded_ns=T0, tags={"team": "search"},
        gpus="3", gpu_cost=8 * 10**9,
    )  # fmt: skip
    open_costs(f"sqlite:///{tmp_path}/ledger.db").put_entry(rented)
    with books_of(site) as books:
        until = T0 + 4 * HOUR_NS
        found = beside(books, {"team": "search"}, "USD", T0, until)
        stated = statement(books, CostQuery(since_ns=T0, until_ns=until, by=("team", "fleet")))
        trained = sum(row.allocated.amount + row.allocated.wasted for row in stated.rows if row.keys == ("search", "training"))
        assert trained > 0
        assert found.amount == trained + accrued_cost(ENTRY, T0, until) + 4 * 10**9
        hours = beside(books, {"team": "search"}, "gpu-hours", T0, until)
        assert hours.amount == pytest.approx((6 * 2.5 + 3 * 4) * GPU_HOUR)
        assert beside(books, {"workload_type": "training"}, "USD", T0, until).amount == found.amount


def test_the_whole_of_a_training_fleet_counts_in_gpu_hours(tmp_path: Path) -> None:
    with books_of(site_of(tmp_path)) as books:
        assert beside(books, {"fleet": "training"}, "gpu-hours", T0, T0 + 2 * HOUR_NS).amount == 8 * 2 * GPU_HOUR


def test_standings_tell_both_parts(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    budgets = (Budget(name="all", limit="100 USD / month"), Budget(name="team", limit="10 USD / month", where={"team": "search"}))
    with books_of(site, msgspec.structs.replace(site.settings, budgets=budgets)) as books:
        whole, team = budget_standings(books)
        stated = statement(books, CostQuery(since_ns=whole.since_ns, until_ns=books.now_ns))
        assert whole.spent == stated.total
        assert whole.by_requests is not None and whole.spent == whole.by_requests + whole.beside
        assert team.beside > 0 and LEFT_OUT in team.note
