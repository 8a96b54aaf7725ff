"""What the demo shows on a terminal of 80 x 24: where everything is, and under it the live traffic by team."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.cli.output import say, stdout_console

if TYPE_CHECKING:
    from rich.table import Table

    from penstock.demo.player import Tally
    from penstock.finops.costs import CostReport

MOST_TEAMS = 6


class Screen:
    """The words of one demo."""

    def __init__(self, address: str, config: Path, requests: int, seed: int) -> None:
        self._address, self._config = address, config
        self._title = f"Penstock demo: {requests:,} requests, 30 days, 4 teams (fictional, seed {seed})"

    def welcome(self, live: bool, quiet: bool, seconds: float | None) -> None:
        """To a terminal the whole of it, on stdout; else two lines of narration."""
        if live:
            sys.stdout.write("\n".join(self._lines()) + "\n")
            sys.stdout.flush()
            return
        say(self._title, quiet)
        say(f"playing live traffic against {self._address} for {seconds or 0:g} s ...", quiet)
        say(f"its ledger, for other commands: --config {self._config}", quiet)

    def _lines(self) -> list[str]:
        return [
            self._title,
            f"  console   {self._address}",
            f"  gateway   {self._address}/v1        try:",
            f"    curl -i {self._address}/v1/chat/completions \\",
            """      -H 'penstock-tag-team: you' -H 'content-type: application/json' \\""",
            """      -d '{"model":"auto","messages":[{"role":"user","content":"hello"}]}'""",
            "  story     three things to find: a runaway agent, a cache that pays,",
            "            a GPU nobody uses",
            "  ledger    penstock cost --by team,feature \\",
            f"              --config {self._config}",
            "  yours     penstock init",
            "Ctrl-C stops it and leaves nothing behind",
        ]

    @contextmanager
    def drawing(self) -> "Iterator[Callable[[CostReport, Tally], None]]":
        """Draws the table of live traffic over itself."""
        from rich.live import Live

        with Live(console=stdout_console(), auto_refresh=False, transient=True) as screen:
            yield lambda report, tally: screen.update(_table(report, tally), refresh=True)


def _table(report: "CostReport", tally: "Tally") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from penstock.cli.cost_table import money, printable
    from penstock.domain.ledger.measures import known_cost
    from penstock.domain.units import usd

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), title_justify="left", title_style="bold")
    why = f" ({printable(tally.last_failure)})" if tally.last_failure else ""
    table.title = Text(f"live: {tally.sent:,} sent, {tally.failed:,} failed{why}")
    table.title.truncate(76, overflow="ellipsis")
    table.add_column("team", no_wrap=True, max_width=24, style="dim")
    for name in ("requests", "cache hits", "cost USD"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = report.rows[:MOST_TEAMS]
    groups = [*(row.sums for row in rows), report.total]
    costs = money([None if (nano := known_cost(sums)) is None else usd(nano) for sums in groups])
    for name, sums, cost in zip([*(printable(row.keys[0]) for row in rows), "all"], groups, costs, strict=True):
        table.add_row(Text(name), f"{sums.requests:,}", f"{sums.cache_hits:,}", cost)
    return table
