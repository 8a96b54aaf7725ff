"""Budgets of keys: counted over a chain of rotations, read at once for all keys and no more often than needed, gone with the last key."""

from typing import Any

import pytest

from penstock.domain.ledger.measures import CostQuery, Sums
from penstock.finops.alerting.gauges import budget_gauges
from penstock.finops.books import Books
from penstock.finops.budgets.of_keys import NOT_FORECAST, KeyBudgets
from penstock.finops.budgets.standing import Standing
from penstock.finops.ledger import Keys
from penstock.finops.ledger import Ledger as WholeLedger
from penstock.ports.key_store import ApiKey
from penstock.ports.metrics import BUDGET_SPENT_USD
from tests.ledger_entries import record
from tests.unit.finops.ledgers import Ledger
from tests.unit.finops.test_standing import BARE, HOUR, NOW, USD, ns


class Counting(WholeLedger):
    """Keeps what it was asked for."""

    def __init__(self, records: list[Any], asked: list[CostQuery]) -> None:
        super().__init__(Ledger(records))
        self._asked = asked

    def sums(self, query: CostQuery) -> list[tuple[Keys, Sums]]:
        self._asked.append(query)
        return super().sums(query)


def key(id: str, budget: str | None = "10 USD / month", **more: Any) -> ApiKey:
    return ApiKey(id=id, prefix="psk_", sha256=id, created_ns=0, budget=budget, **more)


def spent(id: str, cost: int | None, key_id: str | None, at: int = NOW - HOUR, **more: Any) -> Any:
    return record(id, admitted_ns=at, cost=cost, key_id=key_id, **more)


def look(kept: KeyBudgets, records: list[Any], asked: list[CostQuery] | None = None, now: int = NOW) -> tuple[Standing, ...]:
    books = Books(BARE, Counting(records, [] if asked is None else asked), now, lambda fleet: None)
    return kept.standings(books, kept.found(now))


def test_a_chain_of_rotations_is_one_budget() -> None:
    chain = [
        key("key_a", name="ci", replaced_by="key_b", expires_ns=NOW - 1), key("key_other", None),
        key("key_b", name="ci", account="key_a", replaces="key_a"),
    ]  # fmt: skip
    records = [
        spent("1", 3 * USD + 1, "key_a", ns("2026-11-01")), spent("2", 5 * USD, "key_b"), spent("3", 90 * USD, "key_other"),
        spent("4", 90 * USD, None), spent("5", 90 * USD, "key_a", ns("2026-11-01") - 1),
        spent("6", None, "key_b", status=402, outcome="refused"),
    ]  # fmt: skip
    [found] = look(KeyBudgets(lambda: chain), records)
    status = found.status
    assert (status.name, status.where, status.keys) == ("key key_a (ci)", {"key_id": "key_a"}, ("key_a", "key_b"))
    assert (status.spent, status.by_requests, status.beside, status.limit) == (8 * USD + 1, 8 * USD + 1, 0, 10 * USD)
    assert (status.since_ns, status.until_ns, status.at_limit) == (ns("2026-11-01"), ns("2026-12-01"), "refuse")
    assert [(mark.at, mark.passed, mark.notify) for mark in status.marks] == [(50, True, ()), (80, True, ()), (95, False, ())]
    assert (status.outlook, found.refused) == (None, 1)
    assert "key_b" in status.note and NOT_FORECAST in status.note
    assert budget_gauges([status], 0)[BUDGET_SPENT_USD.name] == [(("key key_a",), 8.000000001)], "labelled as refusals of it are"


@pytest.mark.parametrize("gone", [{"revoked_ns": NOW - 1}, {"expires_ns": NOW}, {"budget": None}])
def test_a_key_that_works_no_more_or_may_spend_all_has_no_budget_and_nothing_is_read(gone: dict[str, Any]) -> None:
    asked: list[CostQuery] = []
    assert look(KeyBudgets(lambda: [key("key_a", **gone)]), [], asked) == ()
    assert asked == []


def test_what_has_no_price_makes_it_a_lower_bound() -> None:
    records = [spent("1", USD, "key_a"), spent("2", None, "key_a"), spent("3", None, "key_b")]
    known, unknown = (each.status for each in look(KeyBudgets(lambda: [key("key_a"), key("key_b")]), records))
    assert (known.spent, known.unpriced, unknown.spent, unknown.unpriced) == (USD, 1, None, 1)
    assert "at least" in known.note and "unknown" in unknown.note


def test_all_keys_of_a_window_are_read_at_once_and_hours_long_over_only_now_and_then() -> None:
    keys = [key(f"key_{number}") for number in range(50)]
    kept, asked = KeyBudgets(lambda: keys), list[CostQuery]()
    records = [spent(f"{number}", number * USD, f"key_{number}", NOW - number * HOUR - 1) for number in range(50)]
    first = look(kept, records, asked)
    assert [each.status.spent for each in first] == [number * USD for number in range(50)]
    assert len(asked) == 2 and all(query.by[0] == "key_id" for query in asked)
    asked.clear()
    late, new = spent("late", 7 * USD, "key_1", NOW - 9 * HOUR), spent("new", 7 * USD, "key_2", NOW + 1)
    soon = look(kept, [*records, late, new], asked, NOW + 200 * 10**9)
    assert len(asked) == 1 and asked[0].since_ns >= NOW - 3 * HOUR
    assert (soon[1].status.spent, soon[2].status.spent) == (USD, 9 * USD)
    assert look(kept, [*records, late, new], asked, NOW + 301 * 10**9)[1].status.spent == 8 * USD


@pytest.mark.parametrize("limit", ["9 USD / rolling 30m", "9 USD / rolling 5h", "9 USD / rolling 36h", "9 USD / day", "9 USD / hour"])
def test_parts_of_a_window_add_up(limit: str) -> None:
    now = NOW + 41 * 60 * 10**9
    records = [spent(f"{number}", 1 << number % 20, "key_a", now - 1 - number * 7 * 60 * 10**9) for number in range(400)]
    [found] = look(KeyBudgets(lambda: [key("key_a", limit)]), records, now=now)
    assert found.status.spent == sum(each.cost for each in records if each.admitted_ns >= found.status.since_ns)
    assert found.status.rolling == ("rolling" in limit) and found.status.spent
