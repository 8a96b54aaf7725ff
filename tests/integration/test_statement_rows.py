"""What a statement says beyond its total: who bears what under filters, what is unknown, and the units it is told in."""

import io
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from penstock.adapters.stores import open_costs, open_store
from penstock.adapters.stores.cubes import CUBED
from penstock.cli.app import run
from penstock.cli.statement_lines import print_statement
from penstock.config.hardware import OtherCost
from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.entries import HOUR_NS, Allocated, Entry
from penstock.domain.ledger.grouping import SUMMED
from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.domain.ledger.recorded import accrued_cost
from penstock.domain.ledger.sharing import Rule
from penstock.domain.units import Rate
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.finops.statement import Row, statement, whole
from penstock.finops.statement_json import RULES, statement_json
from penstock.finops.unit_costs import unit_costs
from penstock.finops.window import iso
from penstock.ports.usage_store import Intake, Snapshot
from tests.integration.test_statement import CONFIG, ENTRY, SPAN_H, T0, Site, site_of
from tests.ledger_entries import record


def test_rows_are_the_same_before_and_after_hours_are_closed(tmp_path: Path) -> None:
    found = [
        record(
            f"r{number}", admitted_ns=T0 + number * 400 * 10**9, duration_us=900 * 10**6, upstream="own", fleet="l40s", model="m",
            tags={"team": "search", "user": f"u{number % 3}"}, tokens=Tokens(100 * number, 0, 0, 50, 0),
            outcome="error" if number % 4 else "ok",
        )
        for number in range(40)
    ]  # fmt: skip
    sites = []
    for closed in (False, True):
        (tmp_path / str(closed)).mkdir()
        sites.append(Site(tmp_path / str(closed), found, closed=closed, tail=False))
    for by in (("fleet",), ("hour",), ("day", "fleet"), ("hour", "team", "fleet"), ("user", "fleet")):
        for where in ((), (("fleet", "more"),), (("user", "u1"),), (("hour", iso(T0 + HOUR_NS)[:13]),)):
            now, stored = (site.statement(T0, T0 + 4 * HOUR_NS, by, "proportional", where) for site in sites)
            assert now.rows == stored.rows, (by, where)
    assert {row.keys[0] for row in sites[1].statement(T0, T0 + 4 * HOUR_NS, ("fleet",), "separate").rows} >= {"l40s", "more"}


class Told:
    """A ledger that says which questions it was asked."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot, self.asked = snapshot, list[CostQuery]()

    def sums(self, query: CostQuery) -> list[tuple[tuple[str | None, ...], Sums]]:
        self.asked.append(query)
        return self._snapshot.sums(query)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._snapshot, name)


@pytest.mark.parametrize("rule", ["separate", "proportional", "even"])
def test_of_a_key_without_sums_only_what_passes_the_filter_is_grouped(tmp_path: Path, rule: Rule) -> None:
    found = [
        record(
            f"r{number}", admitted_ns=T0 + number * 60 * 10**9, duration_us=30 * 10**6, upstream="own", fleet="l40s", model="m",
            tags={"team": "search", "user": f"u{number % 7}"}, tokens=Tokens(10 * number, 0, 0, 50, 0), cost=1_000 * number,
        )
        for number in range(50)
    ]  # fmt: skip
    site = Site(tmp_path, found, closed=True, tail=False)
    everybody = {row.keys[0]: row for row in site.statement(T0, T0 + HOUR_NS, ("user",), rule).rows}
    with site.store.snapshot() as snapshot:
        told = Told(snapshot)
        books = Books(site.settings, Ledger(cast(Snapshot, told)), T0 + SPAN_H * HOUR_NS, lambda fleet: None)
        query = CostQuery(since_ns=T0, until_ns=T0 + HOUR_NS, by=("team",), where=(("user", "u3"),))
        [alone] = statement(books, query, rule).rows
    assert (alone.keys, alone.usage, alone.sums) == (("search",), everybody["u3"].usage, everybody["u3"].sums)
    assert abs(alone.shared - everybody["u3"].shared) <= len(alone.shares)
    assert alone.shared > 0
    if rule != "even":
        assert all(("user", "u3") in query.where for query in told.asked if {"user"} & {*query.by, *(key for key, _ in query.where)})


def test_costs_of_one_share_are_read_once(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    cost = site.settings.costs["weights"]
    three = msgspec.structs.replace(site.settings, costs=dict.fromkeys(("a", "b", "c"), cost))
    with site.store.snapshot() as snapshot:
        told = Told(snapshot)
        books = Books(three, Ledger(cast(Snapshot, told)), T0 + SPAN_H * HOUR_NS, lambda fleet: None)
        statement(books, CostQuery(since_ns=T0, until_ns=T0 + HOUR_NS, by=("team",)), "separate")
    assert len([query for query in told.asked if query.where]) == 1


def test_an_other_cost_by_cost_weighs_what_own_hardware_did(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    costs = {"network": OtherCost(price=Rate("0.03 USD/hour"), by="cost")}
    with site.store.snapshot() as snapshot:
        books = Books(
            msgspec.structs.replace(site.settings, costs=costs), Ledger(snapshot), T0 + SPAN_H * HOUR_NS, lambda fleet: None
        )  # fmt: skip
        borne = statement(books, CostQuery(since_ns=T0, until_ns=T0 + HOUR_NS, by=("team",)), "separate")
    rows = {row.keys[0]: row for row in borne.rows}
    weights = {team: row.api + row.allocated.amount + row.allocated.wasted for team, row in rows.items()}
    [pot] = [each for each in borne.pots if each.kind == "other"]
    assert rows["support"].shared > 0, "its requests are booked at a provisional cost alone"
    assert abs(rows["support"].shared * sum(weights.values()) - pot.amount * weights["support"]) <= sum(weights.values())


def test_recorded_costs_of_the_future_are_not_there_yet(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    later = Entry(
        id="later", kind="other", name="label", since_ns=T0 + 5 * HOUR_NS, until_ns=T0 + 9 * HOUR_NS, recorded_ns=T0,
        engineering_cost=4 * 10**9, gpu_cost=None,
    )  # fmt: skip
    open_costs(f"sqlite:///{tmp_path}/ledger.db").put_entry(later)
    so_far, whole_day = (site.statement(T0, T0 + hours * HOUR_NS, (), "separate") for hours in (SPAN_H, 24))
    assert so_far.lines() == whole_day.lines()
    assert sum(row.recorded for row in whole_day.rows) == accrued_cost(ENTRY, T0, T0 + SPAN_H * HOUR_NS) + 10**9


def test_work_of_a_fleet_that_the_config_lost_is_unknown_where_its_hours_are_open(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    late = record("late", admitted_ns=T0 + 5 * HOUR_NS, upstream="own", fleet="l40s", model="m", tokens=Tokens(1, 0, 0, 1, 0), cost=9)
    site.store.take_in(Intake(records=[late], opened=(), settled=(), offsets={}))
    fleets = {("renamed" if name == "l40s" else name): fleet for name, fleet in site.settings.fleets.items()}
    site.settings = msgspec.structs.replace(site.settings, fleets=fleets)
    assert not any("l40s" in clause for clause in site.statement(T0, T0 + 4 * HOUR_NS, (), "separate").unknown)
    [clause] = [each for each in site.statement(T0, T0 + 6 * HOUR_NS, (), "separate").unknown if "l40s" in each]
    assert clause.startswith("the rent of fleet l40s in 1 hour from ") and "does not name it" in clause


def test_rent_from_before_the_ledger_is_said_to_be_unknown(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    assert not site.statement(T0, T0 + HOUR_NS, (), "separate").unknown
    [clause] = site.statement(T0 - 1, T0 + HOUR_NS, (), "separate").unknown
    assert clause.startswith("the rent of fleets l40s, more, mig, training before ")


def test_pots_of_unknown_rent_are_unknown(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    fleets = {name: msgspec.structs.replace(fleet, runs="prometheus") for name, fleet in site.settings.fleets.items() if name == "mig"}
    site.settings = msgspec.structs.replace(site.settings, fleets=fleets)
    borne = site.statement(T0 + 5 * HOUR_NS, T0 + 6 * HOUR_NS, ("team",), "separate")
    told = msgspec.json.decode(msgspec.json.encode(statement_json(borne)), type=dict[str, Any])
    [idle] = [pot for pot in told["pots"] if pot["line"] == "idle"]
    assert (idle["usd"], idle["rest_usd"], idle["known_usd"]) == (None, None, "0.000000000")
    lines = {line["line"]: line["usd"] for line in told["lines"]}
    assert lines["idle"] is None and lines["gpu_work"] is None and lines["api"] is not None
    shown = io.StringIO()
    print_statement(borne, shown)
    assert "idle" in shown.getvalue() and "what is known of all bills" in shown.getvalue()


def test_energy_is_told_by_the_request_not_by_the_fleets_of_its_pool() -> None:
    alone = Row(keys=(), worked=2, allocated=Allocated(entries=2, energy_mj=7_200_000, energy_entries=2))
    pool = Row(keys=(), worked=2, allocated=Allocated(entries=4, energy_mj=7_200_000, energy_entries=4))
    half = Row(keys=(), worked=2, allocated=Allocated(entries=4, energy_mj=3_600_000, energy_entries=2))
    assert [unit_costs(row).wh_per_request for row in (alone, pool, half)] == [Decimal("1.000000000")] * 3
    assert unit_costs(Row(keys=(), allocated=Allocated(entries=1, energy_mj=1, energy_entries=1))).wh_per_request is None


def test_requests_that_own_fleets_worked_for_are_counted_once(tmp_path: Path) -> None:
    site = site_of(tmp_path)
    for by in (("team",), ("fleet",), ("user",)):
        borne = site.statement(T0, T0 + 3 * HOUR_NS, by, "separate")
        assert whole(borne).worked == 40 + 1, "requests and one recorded run; two fleets serve each request"


def test_keys_of_which_sums_are_kept() -> None:
    assert set(SUMMED) == set(CUBED)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--fail-over", "0.5"], 3),
        (["--fail-over", "1000000"], 0),
        (["--fail-over", "0.5", "--where", "team=search"], 0),
        (["--fail-over", "0.0009", "--where", "team=search"], 3),
        (["--fail-over", "0.0009", "--where", "team=support"], 0),
    ],
)
def test_the_limit_counts_the_rent_of_own_hardware(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    config, now = tmp_path / "penstock.toml", time.time_ns()
    config.write_text(f'{CONFIG}\n[server]\nstore = "sqlite:///{tmp_path}/costs.db"\njournal = "{tmp_path}/journal"\n')
    store = open_store(f"sqlite:///{tmp_path}/costs.db")
    store.prepare()
    bought = record("api", admitted_ns=now - 3 * HOUR_NS, upstream="api", model="big", tags={"team": "search"}, cost=1_000_000)
    store.take_in(Intake(records=[bought], opened=(), settled=(), offsets={}))
    assert run(["cost", "--config", str(config), *arguments]) == code
    assert ("above" in capsys.readouterr().err) == (code == 3)


@pytest.mark.parametrize("rule", ["proportional", "even"])
def test_a_filtered_row_is_the_row_of_a_statement_by_the_filter_as_well(tmp_path: Path, rule: Rule) -> None:
    site = site_of(tmp_path)
    both = {row.keys: row.cost for row in site.statement(T0, T0 + HOUR_NS, ("team", "model"), rule).rows}
    filtered = site.statement(T0, T0 + HOUR_NS, ("team",), rule, (("model", "m"),)).rows
    assert {(*row.keys, "m"): row.cost for row in filtered} == {keys: cost for keys, cost in both.items() if keys[1] == "m"}
    assert "as the keys of rows and filters" in RULES["even"]
