"""The page Fleet, built from hours: its sentence counts commitments that did not run, and what it draws is what it tells."""

from typing import Any

import pytest

from penstock.adapters.stores.cost_view import EmptyCostView
from penstock.config.load import parse
from penstock.console.context import Context
from penstock.console.fleet import COLUMNS, Fleets, build, sheet
from penstock.console.flows import fleet_levels, fleet_parts
from penstock.console.query import read_address
from penstock.domain.ledger.entries import HOUR_NS, FleetHour
from penstock.domain.ledger.record import UsageRecord
from penstock.domain.prices.book import PriceBook
from penstock.finops.budgets.history import Histories
from penstock.ports.cost_store import CostView
from tests.unit.console.papers import NO_PAPERS
from tests.unit.console.test_costs import NoJournal
from tests.unit.finops.ledgers import Ledger

NOW_NS = 498_684 * HOUR_NS
USD = 10**9
CONFIG = """
version = 1
[upstreams.a]
base_urls = ["http://127.0.0.1:9/v1"]
[fleets.f]
upstream = "a"
gpu = "L40S"
price = "1 USD/gpu-hour"
[fleets.g]
gpu = "H100"
price = "3 USD/gpu-hour"
"""


class Hours(EmptyCostView):
    """Hours that are closed."""

    def __init__(self, hours: list[FleetHour]) -> None:
        self._hours = hours

    def fleet_hours(self, since_hour: int, until_hour: int) -> list[FleetHour]:
        return [hour for hour in self._hours if since_hour <= hour.hour < until_hour]


class Closed(Ledger):
    """A snapshot with closed hours beside its records."""

    def __init__(self, records: list[UsageRecord], hours: list[FleetHour]) -> None:
        super().__init__(records)
        self._view = Hours(hours)

    @property
    def costs(self) -> CostView:
        return self._view


def hour(ago: int, fleet: str = "f", **money: Any) -> FleetHour:
    at = NOW_NS // HOUR_NS - ago
    return FleetHour(
        fleet=fleet, hour=at, since_ns=at * HOUR_NS, until_ns=(at + 1) * HOUR_NS, rent=sum(money.values()), gpu_ns=HOUR_NS,
        work_gpu_ns=HOUR_NS * (money.get("used", 0) + money.get("waste", 0)) // (sum(money.values()) - money.get("unused", 0)),
        basis="planned", **money,
    )  # fmt: skip


def page(hours: list[FleetHour], text: str = "since=4h") -> Fleets:
    first = UsageRecord(id="r", admitted_ns=NOW_NS - 4 * HOUR_NS, endpoint="chat.completions", status=200, outcome="ok", cost=1)
    address = read_address("/fleet", text, now_ns=NOW_NS, timezone="UTC", since="30d")
    context = Context(
        parse(CONFIG, {}), Closed([first], hours), NoJournal(), lambda: PriceBook({}), runs=lambda fleet: None, price_source="none",
        gauges={}, papers=NO_PAPERS, histories=Histories(), now_ns=NOW_NS,
    )  # fmt: skip
    return build(context, address)


def every(**hours: dict[str, int]) -> list[FleetHour]:
    return [hour(ago, fleet, **money) for fleet, money in hours.items() for ago in range(4, 0, -1)]


BUSY = {"used": USD * 3 // 4, "waste": USD // 8, "idle": USD // 8}


@pytest.mark.parametrize(
    ("other", "answer"),
    [
        ({"used": 3 * USD}, "For the most part: $0.500 of $16 rented in the last 4 hours stood idle (3\u202f%)."),
        (
            {"idle": 3 * USD},
            "No. $12.50 of $16 rented in the last 4 hours stood idle (78\u202f%), and $12 of that is g alone: no request has reached it.",
        ),
        (
            {"used": USD, "idle": USD, "unused": USD},
            "Not enough: $8.50 of $16 rented in the last 4 hours stood idle (53\u202f%). $4 of it is a commitment that did not run.",
        ),
        (
            {"used": USD // 10, "idle": USD - USD // 10, "unused": 2 * USD},
            "No. $12.10 of $16 rented in the last 4 hours stood idle (75\u202f%), and $11.60 of that is g alone: "
            "10\u202f% of it was used. $8 of it is a commitment that did not run.",
        ),
    ],
)  # fmt: skip
def test_the_sentence_counts_what_was_paid_for_nothing(other: dict[str, int], answer: str) -> None:
    assert page(every(f=BUSY, g=other)).answer == answer


def test_all_of_it_at_work() -> None:
    assert page(every(f={"used": USD}, g={"used": 3 * USD})).answer == "Yes: all of the $16 rented in the last 4 hours was at work."


def test_what_is_drawn_is_what_is_told() -> None:
    view = page(every(f=BUSY, g={"idle": 2 * USD, "unused": USD}))
    used, spare = view.fleets
    assert view.step == "hour" and view.unused == ("g",)
    assert (view.rent_usd, view.idle_usd, view.unused_commitment_usd) == ("16.000000000", "8.500000000", "4.000000000")
    assert [(name, share) for name, share, _ in fleet_parts(used)] == [("used", 0.75), ("waste", 0.125), ("idle", 0.125)]
    assert [(name, round(share, 6)) for name, share, _ in fleet_parts(spare)] == [("idle", 0.666667), ("unused commitment", 0.333333)]
    assert [each["utilization"] for each in used["over_time"]] == [0.875] * 4  # type: ignore[attr-defined]
    drawn = str(fleet_levels(used, view.step))
    assert drawn.count("87.5\u202f% at work, $0.125 of $1 at rest") == 4 and "P95 by hour 87.5" in drawn
    rows = [
        dict(zip(COLUMNS, row, strict=True)) for row in sheet(view, read_address("/fleet", "", now_ns=1, timezone="UTC", since="1h")).rows
    ]
    assert [row["at_rest_usd"] for row in rows] == ["0.500000000", "12.000000000"]


def test_days_over_longer_windows() -> None:
    view = page(every(f=BUSY, g={"idle": USD}), "since=30d")
    assert view.step == "day"
    assert [each["at"] for each in view.fleets[0]["over_time"]] == ["2026-11-21"]  # type: ignore[attr-defined]
