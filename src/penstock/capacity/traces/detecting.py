"""Which format a file has, by the names of its columns."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from penstock.capacity.traces import azure, burstgpt, columnar, mooncake, servegen
from penstock.capacity.traces.formats import Format, column_of, plain
from penstock.domain.simulation.checking import NO_OUTPUT, NO_OUTPUT_HINT
from penstock.domain.simulation.trace import TraceError

FORMATS: Final = (azure.FORMAT, mooncake.FORMAT, servegen.FORMAT, servegen.RATES, burstgpt.FORMAT, columnar.FORMAT)
WORDS: Final = tuple(form.word for form in FORMATS)
_NEEDED: Final = "`arrival_s` (seconds), `input_tokens` and `output_tokens`"
_SHOWN: Final = 12


def format_of(header: Sequence[str], word: str | None = None) -> Format:
    """The format of a header, or the one that `word` asks for. Raises `TraceError` when columns are missing."""
    form = _known(word) if word is not None else _told({plain(name) for name in header})
    missing = [what for what, names in _wanted(form) if column_of(header, names) is None]
    if not missing:
        return form
    found = ", ".join(f"`{name}`" for name in header[:_SHOWN]) + (f" and {len(header) - _SHOWN} more" if len(header) > _SHOWN else "")
    if missing == ["output tokens"]:
        raise TraceError(f"{NO_OUTPUT}: its columns are {found}", NO_OUTPUT_HINT)
    named = f" of the format `{form.word}`" if form is not columnar.FORMAT else ""
    raise TraceError(
        f"the columns{named} are not all there: {' and '.join(missing)} missing; found are {found}",
        f"name the columns {_NEEDED}; or bring a file of {', '.join(each.name for each in FORMATS[:-1])}",
    )


def _wanted(form: Format) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if form.table:
        return ("window starts", form.arrival), ("rates", form.input)
    return ("arrivals", form.arrival), ("input tokens", form.input), ("output tokens", form.output)


def _told(names: set[str]) -> Format:
    return next(form for form in FORMATS if form.marks <= names)


def _known(word: str) -> Format:
    if word not in WORDS:
        near = get_close_matches(word, WORDS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(WORDS)}"
        raise TraceError(f"`{word}` is not a format of traces", hint)
    return next(form for form in FORMATS if form.word == word)
