"""A reconciliation for people: what differs with its reason, what agrees in one line, and where every other charge went."""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, TextIO

from penstock.domain.bills.comparing import Group
from penstock.domain.bills.explaining import counted
from penstock.domain.bills.invoice import Amount
from penstock.finops.bills.reconcile import Reconciliation
from penstock.finops.window import iso

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"matched": "green", "missing": "bold red", "extra": "yellow", "quantity differs": "yellow", "rate differs": "yellow"}
MOST_ROWS = 60
HEAD, WHY_INDENT = "bold", 4
FIGURES = ("billed", "booked", "difference")
_PLAIN_WIDTH = 1000


def print_reconciliation(found: Reconciliation, file: TextIO) -> None:
    """Lines into a file such as stdout; where that is no terminal nothing is cut, and every row is there."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, markup=False, emoji=False, color_system=None, width=_PLAIN_WIDTH)
    for line in _head(found):
        console.print(Text(line, style="bold" if console.is_terminal else ""), soft_wrap=not console.is_terminal)
    differing = found.differences
    if differing:
        console.print()
        shown = sorted(differing, key=lambda group: -abs(group.difference))[: MOST_ROWS if console.is_terminal else None]
        _table(console, found.question.by, shown)
        if len(shown) < len(differing):
            console.print(Text(f"and {len(differing) - len(shown):,} smaller differences: `--csv` has them all"))
    console.print()
    for line in _rest(found):
        console.print(Text(line), soft_wrap=not console.is_terminal)


def _head(found: Reconciliation) -> list[str]:
    gap = [f"incomplete: {found.gap}"] if found.gap else []
    if found.since_ns >= found.until_ns:
        return [*gap, "nothing on the bills answers to the ledger"]
    difference = found.billed - found.booked
    sign = "+" if difference > 0 else ""
    differing = f"{len(found.differences):,} of {counted(len(found.groups), 'line')} {'differs' if len(found.groups) == 1 else 'differ'}"
    verdict = differing if found.differences else "agrees" if found.complete else "what was read agrees" if found.groups else "no lines"
    return [
        *gap,
        f"billed {usd(found.billed)} USD, booked {usd(found.booked)} USD ({sign}{usd(difference)}): {verdict}",
        f"{iso(found.since_ns)} to {iso(found.until_ns)}, {found.question.basis} cost, by {', '.join(found.question.by)}",
    ]


def _table(console: "Console", by: Sequence[str], groups: Sequence[Group]) -> None:
    """Of each group its figures and whose they are, and on a line of its own why they differ: readable at 80 columns."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    figures = [tuple("-" if amount is None else usd(amount) for amount in (each.billed, each.booked, each.difference)) for each in groups]
    rows: list[tuple[str, ...]] = [(*FIGURES, "status", "  ".join(by))]
    for group, amounts in zip(groups, figures, strict=True):
        rows.append((*amounts, group.status, "  ".join(str(getattr(group, key) or "unknown") for key in by)))
    widths = [max(len(row[at]) for row in rows) for at in range(len(FIGURES) + 1)]
    for at, row in enumerate(rows):
        line = Table.grid(padding=(0, 2, 0, 0))
        for width in widths[:-1]:
            line.add_column(width=width, justify="right", no_wrap=True)
        line.add_column(width=widths[-1], no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(*row[: len(FIGURES)], Text(row[-2], STYLES.get(row[-2], "")), row[-1], style="" if at else HEAD)
        console.print(line)
        if at and groups[at - 1].what:
            console.print(Padding(Text(groups[at - 1].what), (0, 0, 0, WHY_INDENT), expand=False))


def _rest(found: Reconciliation) -> list[str]:
    lines = []
    matched = [group for group in found.groups if group.status == "matched"]
    if matched:
        agree = f"{counted(len(matched), 'line')} {'agrees' if len(matched) == 1 else 'agree'}"
        lines.append(f"{agree}: {usd(sum((group.billed or Decimal(0) for group in matched), Decimal(0)))} USD")
    for kind in dict.fromkeys(kind for kind, _ in sorted(found.apart)):
        parts = {service: amount for (each, service), amount in found.apart.items() if each == kind}
        lines.append(f"apart, {kind}: {_amounts(parts)}{_invoiced(parts)}")
    if found.beyond:
        lines.append(f"beyond models and GPUs: {_amounts(found.beyond)}")
    for currency, amount in sorted(found.foreign.items()):
        lines.append(f"in {currency}, never added to USD: {usd(amount.cost)} ({counted(amount.charges, 'charge')})")
    for amounts, what in ((found.outside, "outside the window"), (found.repeated, "in an earlier file already, counted once")):
        for currency, amount in sorted(amounts.items()):
            lines.append(f"{what}: {usd(amount.cost)} {currency} ({counted(amount.charges, 'charge')})")
    if found.elsewhere:
        parts = {service: Amount(1, amount) for service, amount in found.elsewhere.items()}
        lines.append(f"in the ledger, of providers on none of these bills (`--all` compares them): {_amounts(parts)}")
    if found.without_cost:
        lines.append(f"without any cost: {counted(found.without_cost, 'charge')}")
    return lines


def _amounts(parts: dict[str, Amount]) -> str:
    """The sum, and the dearest of what it is made of."""
    whole = sum((amount.cost for amount in parts.values()), Decimal(0))
    dearest = sorted(parts.items(), key=lambda part: -abs(part[1].cost))
    told = ", ".join(f"{name} {usd(amount.cost)}" for name, amount in dearest[:4])
    more = f", and {len(dearest) - 4} more" if len(dearest) > 4 else ""
    return f"{usd(whole)} USD ({told}{more})"


def _invoiced(parts: dict[str, Amount]) -> str:
    """How many charges, and what they were invoiced at where that is another amount."""
    charges = counted(sum(amount.charges for amount in parts.values()), "charge")
    billed = sum((amount.billed for amount in parts.values()), Decimal(0))
    other = billed != sum((amount.cost for amount in parts.values()), Decimal(0))
    return f", {charges}, billed {usd(billed)} USD" if other else f", {charges}"


def usd(amount: Decimal) -> str:
    """Cents for what has some, more places for less."""
    if not amount:
        return "0.00"
    places = Decimal("0.01") if abs(amount) >= 1 else Decimal("0.000001")
    shown = f"{amount.quantize(places, ROUND_HALF_EVEN):,f}"
    whole, _, part = shown.partition(".")
    return f"{whole}.{part.rstrip('0'):0<2}"
