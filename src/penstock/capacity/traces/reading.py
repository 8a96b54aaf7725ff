"""A file into a trace: whatever its format is, checked, with all that was taken for granted said."""

from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from penstock.capacity.traces.cells import Numbers, numbers, prefix_blocks
from penstock.capacity.traces.detecting import format_of
from penstock.capacity.traces.files import Table, TableFile
from penstock.capacity.traces.formats import Format, TimeUnit, column_of
from penstock.capacity.traces.opening import columns_of, open_file
from penstock.capacity.traces.times import UNITS, times
from penstock.domain.simulation.checking import SHOWN, PrefixBlocks, checked
from penstock.domain.simulation.expanding import Expansion, RateTable, expand
from penstock.domain.simulation.selecting import taken
from penstock.domain.simulation.trace import Ints, Row, Trace, TraceError

BLOCK_TOKENS: Final = 512
"""of a prefix block, where the file does not say: Mooncake's"""


class Read(NamedTuple):
    """A trace, the format it was read in, what is to be said of it, and the instant of its begin where the file tells."""

    trace: Trace
    format: str
    notes: tuple[str, ...]
    begin_epoch_s: float | None


def read_trace(
    path: Path,
    format: str | None = None,
    *,
    time_unit: TimeUnit | None = None,
    drop_bad: bool = False,
    block_tokens: int = BLOCK_TOKENS,
    expansion: Expansion | None = None,
    seed: int = 0,
) -> Read:
    """`expansion` and `seed` are for tables of rates. Raises `TraceError`, whose message names the rows that cannot be replayed."""
    if time_unit is not None and time_unit not in UNITS:
        raise TraceError(f"`{time_unit}` is not a unit of time", f"write {', '.join(UNITS)}")
    file = open_file(path)
    form = format_of(file.header, format)
    if form.table:
        return _expanded(file, form, expansion, seed)
    if expansion is not None:
        raise TraceError(f"{path.name} holds requests already, so there is nothing to expand", "leave --expand out")
    names = [column_of(file.header, names) for names in form.columns]
    return _Reading(form, names, columns_of(file, [name for name in names if name is not None])).read(time_unit, drop_bad, block_tokens)


class _Reading:
    """The columns of one file, as the format understands them."""

    def __init__(self, form: Format, names: list[str | None], table: Table) -> None:
        self._form = form
        self._arrival, self._input, self._output, self._blocks, self._pooled = names
        self._table = table
        self._notes: list[str] = []
        self._unread = dict(table.unread)

    def read(self, time_unit: TimeUnit | None, drop_bad: bool, block_tokens: int) -> Read:
        table, note = self._table, self._notes.append
        assert self._arrival is not None and self._input is not None and self._output is not None
        arrival = times(table.columns[self._arrival], self._arrival, self._form.unit, time_unit, note)
        prompts, answers = (numbers(table.columns[name], name) for name in (self._input, self._output))
        for name, bad in ((self._arrival, arrival.bad), (self._input, prompts.bad), (self._output, answers.bad)):
            self._unread.update((int(table.rows[place]), f"{name} {words}") for place, words in bad.items())
        kept = self._answered(answers)
        self._tell_pooled()
        trace = checked(
            arrival.seconds[kept],
            prompts.values[kept],
            answers.values[kept],
            prefix=self._prefix(kept, block_tokens),
            rows=table.rows[kept],
            unread=self._unread,
            drop_bad=drop_bad,
            note=note,
        )
        return Read(trace, self._form.word, tuple(self._notes), arrival.begin_epoch_s)

    def _answered(self, answers: Numbers) -> Ints:
        """Places of the rows that are no failures."""
        if self._form.failed is None:
            return np.arange(len(answers.values))
        failed = answers.values == 0
        count = int(failed.sum())
        if count:
            self._notes.append(f"{count:,} of {len(failed):,} rows are {self._form.failed} (no output tokens) and are left out")
        if count == len(failed) > 0:
            raise TraceError(
                f"not one of {len(failed):,} rows has output tokens: they are {self._form.failed}", "give a trace with answers"
            )
        return np.nonzero(~failed)[0]

    def _prefix(self, kept: Ints, block_tokens: int) -> PrefixBlocks | None:
        if self._blocks is None:
            return None
        whole = prefix_blocks(self._table.columns[self._blocks], self._blocks, block_tokens)
        return PrefixBlocks(*taken(whole.start, whole.ids, kept), whole.tokens)

    def _tell_pooled(self) -> None:
        if self._pooled is None:
            return
        import pyarrow.compute as compute

        drawn = compute.equal(compute.utf8_lower(self._table.columns[self._pooled].cast("string")), "true")
        if share := compute.mean(drawn).as_py():
            self._notes.append(f"{100 * share:.0f} % of the requests have lengths that were drawn from other clients' (`{self._pooled}`)")


def _expanded(file: TableFile, form: Format, expansion: Expansion | None, seed: int) -> Read:
    """Requests at the rates of a table."""
    if expansion is None:
        raise TraceError(
            "this is a table of rates: it says how many requests come, not how long each is",
            f"say their lengths (mean, or mean:P95) and the share of them to make: `--expand {_lengths(file, form)},thin=0.01`",
        )
    names = [name for name in (column_of(file.header, names) for names in (form.arrival, form.input)) if name is not None]
    table = columns_of(file, names)
    starts, rates = (numbers(table.columns[name], name) for name in names)
    bad = {int(table.rows[place]): "a cell is missing" for place in np.nonzero(np.isnan(starts.values + rates.values))[0]}
    bad |= {int(table.rows[place]): words for found in (rates, starts) for place, words in found.bad.items()} | table.unread
    if bad:
        first = tuple(Row(number, bad[number]) for number in sorted(bad)[:SHOWN])
        told = "".join(f"\n  row {row.number:,}: {row.problem}" for row in first)
        raise TraceError(f"{len(bad):,} rows of the table of rates cannot be read:{told}", "correct them: no window may be missing", first)
    trace = expand(RateTable(starts.values, rates.values), expansion, seed)
    made = f"{trace.requests:,} requests were made from {len(table.rows):,} windows at {expansion.thin:.3g} of their rates"
    notes = [f"{made}; their lengths are as you said"]
    steps = np.diff(starts.values)
    if longer := int((steps > np.median(steps)).sum()):
        notes.append(f"windows longer than the others: {longer:,}; some are missing after them, and their rates were held")
    return Read(trace, form.word, tuple(notes), None)


def _lengths(file: TableFile, form: Format) -> str:
    """Lengths to propose: the means of the table where it has any, with three times that as the 95th percentile."""
    means = {"input": 800.0, "output": 200.0}
    names = [column_of(file.header, (name,)) for name in form.means]
    if all(names):
        rate = column_of(file.header, form.input)
        table = columns_of(file, [name for name in (rate, *names) if name is not None])
        told = np.array([numbers(column, name).values for name, column in table.columns.items()])
        weights, *columns = told[:, ~np.isnan(told).any(axis=0)]
        if weights.sum() > 0:
            means = {name: max(1.0, float((column * weights).sum() / weights.sum())) for name, column in zip(means, columns, strict=True)}
    return ",".join(f"{name}={mean:.0f}:{3 * mean:.0f}" for name, mean in means.items())
