"""The statement under a table of costs: every dollar of the window on one line, down to the total."""

from typing import TextIO

from penstock.cli.cost_table import money
from penstock.domain.units import usd
from penstock.finops.statement import MEANING, Statement
from penstock.finops.statement_json import RULES, unknown_lines

TITLES = {
    "api": "providers",
    "gpu_work": "GPU work",
    "gpu_waste": "GPU waste",
    "recorded": "recorded runs",
    "idle": "idle",
    "unallocated": "unallocated",
    "unused_commitment": "unused commitment",
    "other": "other costs",
}


def print_statement(statement: Statement, file: TextIO) -> None:
    """Nothing where all that was spent went to providers: the table's total is then the whole."""
    if statement.query.where or not (statement.hours or statement.pots or any(row.recorded for row in statement.rows)):
        _unknown(statement, file)
        return
    blank = unknown_lines(statement) & {pot.kind for pot in statement.pots}
    lines = [(kind, amount) for kind, amount in statement.lines().items() if amount or kind in blank]
    amounts = money([None if kind in blank else usd(amount) for kind, amount in lines] + [usd(statement.total)])
    width = max(map(len, amounts))
    file.write("\nevery dollar of the window, once (USD):\n")
    for (kind, _), amount in zip(lines, amounts, strict=False):
        file.write(f"  {TITLES[kind]:<18} {amount:>{width}}  {MEANING[kind]}{_shared(statement, kind)}\n")
    total = "what is known of all bills of the window" if statement.unknown else "what all bills of the window come to"
    file.write(f"  {'total':<18} {amounts[-1]:>{width}}  {total}; {RULES[statement.rule]}\n")
    _unknown(statement, file)


def _shared(statement: Statement, kind: str) -> str:
    """How much of a line the rows bear already."""
    shared = sum(pot.shared for pot in statement.pots if pot.kind == kind)
    return f"; {money([usd(shared)])[0]} of it is borne by the rows" if shared else ""


def _unknown(statement: Statement, file: TextIO) -> None:
    for clause in statement.unknown:
        file.write(f"unknown:  {clause}\n")
