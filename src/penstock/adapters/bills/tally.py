"""The account of a file while it is read: what was repaired, refused, put aside, and what the charges come to."""

from datetime import UTC, datetime
from decimal import Decimal

from penstock.domain.bills.focus import EXACT, FocusRow
from penstock.ports.bill_source import ReadReport, Refusal, Repair, Totals

FIRST_ROWS, REFUSALS_KEPT = 5, 1000


class Tally:
    """Fills a `ReadReport`."""

    def __init__(self, report: ReadReport) -> None:
        self.report = report
        self._repairs: dict[str, tuple[list[int], dict[str, None], list[int]]] = {}
        self._since: datetime | None = None
        self._until: datetime | None = None

    def repair(self, reason: str, column: str, row: int) -> None:
        """One cell (or row) of a kind of fault."""
        found = self._repairs.get(reason)
        if found is None:
            found = self._repairs[reason] = ([0], {}, [])
        count, columns, first = found
        count[0] += 1
        if column not in columns:
            columns[column] = None
        if len(first) < FIRST_ROWS and row not in first:
            first.append(row)

    def refuse(self, row: int, reason: str) -> None:
        """A row that is not read. It counts as a row of the file."""
        report = self.report
        report.rows += 1
        report.refused += 1
        # the kind of fault, without what stands in this very cell
        kind = reason.partition(": `")[0]
        report.refused_by_reason[kind] = report.refused_by_reason.get(kind, 0) + 1
        if len(report.refusals) < REFUSALS_KEPT:
            report.refusals.append(Refusal(row, reason))

    def put_aside(self, reason: str) -> None:
        """A row that is no charge, or not asked for. It counts as a row of the file."""
        self.report.rows += 1
        self.report.aside[reason] = self.report.aside.get(reason, 0) + 1

    def note(self, text: str) -> None:
        """Something about the file as a whole, once."""
        if text not in self.report.notes:
            self.report.notes.append(text)

    def row_read(self, amount: Decimal | None, currency: str | None) -> None:
        """A row that became charges; `amount` is what its own column of money says."""
        self.report.rows += 1
        self.report.read += 1
        if amount is not None:
            amounts, name = self.report.amounts, currency or "unknown"
            amounts[name] = EXACT.add(amounts.get(name, Decimal(0)), amount)

    def charge(self, row: FocusRow) -> None:
        """One charge into the totals of its currency."""
        self.report.charges += 1
        currency = row.billing_currency or "unknown"
        totals = self.report.totals.get(currency)
        if totals is None:
            totals = self.report.totals[currency] = Totals()
        totals.charges += 1
        if row.billed_cost is None:
            totals.without_billed += 1
        else:
            totals.billed = EXACT.add(totals.billed, row.billed_cost)
        if row.effective_cost is None:
            totals.without_effective += 1
        else:
            totals.effective = EXACT.add(totals.effective, row.effective_cost)
        if row.list_cost is None:
            totals.without_listed += 1
        else:
            totals.listed = EXACT.add(totals.listed, row.list_cost)
        begin, end = row.charge_period_start, row.charge_period_end
        if begin is not None and (self._since is None or begin < self._since):
            self._since = begin
        if end is not None and (self._until is None or end > self._until):
            self._until = end

    def finish(self) -> None:
        """What was gathered, into the report."""
        self.report.repaired = [
            Repair(reason, count[0], tuple(columns), tuple(first)) for reason, (count, columns, first) in self._repairs.items()
        ]
        self.report.refusals.sort(key=lambda refusal: refusal.row)
        self.report.since, self.report.until = _iso(self._since), _iso(self._until)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
