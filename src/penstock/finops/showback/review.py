"""The review report: what is shown back to teams of a week, a month or any window, beside the window before it."""

from collections.abc import Iterator
from fractions import Fraction

from penstock.domain.ledger.entries import HOUR_NS
from penstock.domain.ledger.measures import CostQuery, priced_lines
from penstock.finops.bills.document import Money
from penstock.finops.books import Books
from penstock.finops.savings import Savings, savings
from penstock.finops.showback.document import DEFINITIONS, Growth, Lever, Showback, Span, Workload
from penstock.finops.showback.fleets import fleet_reviews, look_back, procurement
from penstock.finops.showback.groups import BY, change, groups, hours, levels, teams, trains, uncovered, versions
from penstock.finops.showback.training import training_budgets
from penstock.finops.showback.window import Review
from penstock.finops.statement import Statement, known, statement, whole
from penstock.finops.trends import Growth as WorkGrowth
from penstock.finops.trends import Halves, growths, workload_costs
from penstock.finops.window import Window, iso

DAY_NS = 24 * HOUR_NS
OTHER = "evaluation, experiments, and recorded costs that name no workload"
SHARED = "idle, unallocated and unused hardware, and other costs"
SAME = 0.01
"""growth rates that differ by less are the same"""


def showback(books: Books, review: Review) -> Showback:
    """The review of a window from one reading of the books. Raises `UnitError` for prices and limits that cannot be read.

    What stands idle is shared in proportion to use here, whatever rule the bill has: it is shown, not charged.
    """
    now, before = (statement(books, _query(window), "proportional") for window in (review.now, review.before))
    won, won_before = (savings(books.ledger, _query(window)) for window in (review.now, review.before))
    shown, capacity = teams(books, review.now, now, before)
    back = look_back(review.now)
    total = whole(now).sums
    return Showback(
        kind=review.kind,
        label=review.now.label,
        timezone=review.now.timezone,
        made=iso(books.now_ns),
        window=_span(books, review.now),
        before=_span(books, review.before),
        total_usd=Money(now.total),
        before_total_usd=None if uncovered(before) else Money(before.total),
        growth=growth(books, now, before),
        training_budgets=training_budgets(books, review.now),
        versions=versions(now, before),
        teams=shown,
        nobody_gpu_hours=hours(capacity.nobody),
        fleet_gpu_hours=hours(capacity.whole),
        fleets=fleet_reviews(books, review.now),
        levers=tuple(_levers(won, None if uncovered(before) else won_before)),
        counterfactual_usd=Money(won.counterfactual),
        paid_usd=Money(won.paid),
        compared=won.compared,
        baseline=won.definition,
        levels=levels(now, before),
        procurement=procurement(books, back),
        looked_back=_span(books, back),
        requests=total.requests,
        priced=total.priced,
        estimated=total.estimated,
        asides=total.asides,
        asides_priced=priced_lines(total) - total.priced,
        unknown=now.unknown,
        definitions=DEFINITIONS,
    )


def growth(books: Books, now: Statement, before: Statement) -> tuple[Growth, ...]:
    """Spend against usage, the kinds of work each by itself; then what no work caused, and everything: each dollar in one workload."""
    told = growths(books, Halves(before.since_ns, now.since_ns, now.until_ns, before, now))
    found = [_grown(each, now, before) for each in told if any((*each.spend, *each.usage))]
    rests = [each.total - sum(row.usage for row in each.rows) for each in (now, before)]
    totals = [each.total for each in (now, before)]
    others = [workload_costs(each)["other"] for each in (now, before)]
    sums: tuple[tuple[Workload, list[int], str], ...] = (("other", others, OTHER), ("shared", rests, SHARED), ("all", totals, ""))
    for workload, amounts, note in sums:
        if workload == "other" and not any(amounts):
            continue
        found.append(
            Growth(
                workload=workload,
                usd=Money(amounts[0]),
                before_usd=None if uncovered(before) else Money(amounts[1]),
                measure="",
                used=None,
                before_used=None,
                spend_growth=_growth_a_day(Fraction(amounts[0]), Fraction(amounts[1]), now, before),
                usage_growth=None,
                faster=None,
                note=note,
            )
        )
    return tuple(found)


def _grown(told: WorkGrowth, now: Statement, before: Statement) -> Growth:
    """`told` counts amounts; windows differ in length, so what grew is what was spent and done per day."""
    (spent_before, spent), (used_before, used) = told.spend, told.usage
    priced, priced_before = (_priced(each, told.workload) for each in (now, before))
    spend_growth = _growth_a_day(Fraction(spent), Fraction(spent_before), now, before) if priced and priced_before else None
    usage_growth = _growth_a_day(used, used_before, now, before)
    return Growth(
        workload=told.workload,
        usd=Money(spent) if priced else None,
        before_usd=Money(spent_before) if priced_before and not uncovered(before) else None,
        measure=told.measure,
        used=hours(used),
        before_used=None if uncovered(before) else hours(used_before),
        spend_growth=spend_growth,
        usage_growth=usage_growth,
        faster=None if spend_growth is None or usage_growth is None else spend_growth - usage_growth > SAME,
        note=_gap(before, priced, priced_before, spend_growth is not None and usage_growth is not None),
    )


def _priced(stated: Statement, workload: Workload) -> bool:
    """Whether anything of what a kind of work cost is known, or there was none of it."""
    some = groups(stated, (), lambda row: trains(row.keys[BY.index("workload_type")]) == (workload == "training"))
    return all(known(row) for row in some.values())


def _gap(before: Statement, priced: bool, priced_before: bool, compared: bool) -> str:
    """Why the growth of some work is unknown."""
    if uncovered(before):
        return "the ledger does not reach the time before"
    if not (priced and priced_before):
        return "what it cost is unknown" if not priced else "what it cost before is unknown"
    return "" if compared else "there was none before"


def _growth_a_day(amount: Fraction, amount_before: Fraction, now: Statement, before: Statement) -> float | None:
    if uncovered(now) or uncovered(before):
        return None
    return change(*(part / (each.until_ns - each.since_ns) for part, each in ((amount, now), (amount_before, before))))


def _query(window: Window) -> CostQuery:
    return CostQuery(since_ns=window.since_ns, until_ns=window.until_ns, by=BY)


def _span(books: Books, window: Window) -> Span:
    since, until = books.clip(window.since_ns, window.until_ns)
    return Span(
        since=iso(window.since_ns),
        until=iso(window.until_ns),
        covered_since=iso(since),
        covered_until=iso(until),
        days=round((until - since) / DAY_NS, 4),
    )


def _levers(now: Savings, before: Savings | None) -> Iterator[Lever]:
    amounts = {} if before is None else {lever.name: Money(lever.amount) for lever in before.levers}
    for lever in now.levers:
        yield Lever(
            name=lever.name,
            meaning=lever.meaning,
            requests=lever.requests,
            realised_usd=Money(lever.amount),
            before_realised_usd=amounts.get(lever.name),
        )
