"""Tables of figures that fit a terminal: columns that it has no room for are left out, headings fold, and no figure is ever cut."""

from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap

from penstock.cli.output import stdout_console
from penstock.cli.prices_table import new_table

PLAIN_WIDTH = 1000
"""of a pipe: lines stay whole"""
BAND = " band"
"""after a column's name among the spare ones: its cells do without what follows the first figure"""
GAP, EDGES = 3, 2
"""characters between columns, and around them"""
LEAST = 24
"""characters of a column of words that folds"""


def print_columns(columns: Mapping[str, Sequence[str]], words: Collection[str], folding: Collection[str] = ()) -> None:
    """`words` are not figures; of them `folding` may take several lines."""
    console = stdout_console()
    table = new_table(*columns, figures=[heading for heading in columns if heading not in words])
    for column, (heading, cells) in zip(table.columns, columns.items(), strict=True):
        column.no_wrap = heading not in folding  # a figure that is cut is another figure
        if console.is_terminal:
            column.header = "\n".join(wrap(heading, _least(heading, cells, folding)))
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    console.print(table)


def fitted(columns: Mapping[str, list[str]], spare: Sequence[str], folding: Collection[str] = ()) -> dict[str, list[str]]:
    """The columns that the terminal has room for, without the first of `spare` where they are too many; all of them in a pipe."""
    console = stdout_console()
    left = dict(columns)
    if not console.is_terminal:
        return left
    for each in spare:
        if sum(_least(heading, cells, folding) + GAP for heading, cells in left.items()) - GAP + EDGES <= console.width:
            break
        name = each.removesuffix(BAND)
        if each != name and name in left:
            left[name] = [cell.partition(" ")[0] for cell in left[name]]
        else:
            left.pop(name, None)
    return left


def _least(heading: str, cells: Sequence[str], folding: Collection[str]) -> int:
    """The width in which no figure and no word is cut."""
    longest = max(map(len, cells), default=0)
    return max(*map(len, heading.split()), min(longest, LEAST) if heading in folding else longest)
