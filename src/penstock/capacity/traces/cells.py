"""Columns as numbers and as lists of block ids; what is neither is named, row by row."""

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from penstock.domain.simulation.checking import PrefixBlocks
from penstock.domain.simulation.trace import Floats, TraceError

if TYPE_CHECKING:
    import pyarrow

_NUMBER: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NOTHING: Final = r"^(?i:null|none|nan|na|n/a)?$"


class Numbers(NamedTuple):
    """One for each row; NaN where there is none. `bad`: place -> what stands there instead."""

    values: Floats
    bad: dict[int, str]


def numbers(column: "pyarrow.ChunkedArray", name: str) -> Numbers:
    """A column of numbers, or of their text. Raises `TraceError` for a column of another type."""
    import pyarrow
    import pyarrow.compute as compute

    kind = column.type
    if is_text(column):
        trimmed = compute.utf8_trim_whitespace(column.cast(pyarrow.string()))
        clean = compute.match_substring_regex(trimmed, _NUMBER)
        values = compute.utf8_ltrim(compute.if_else(clean, trimmed, None), "+")
        odd = compute.and_not(compute.invert(clean), compute.match_substring_regex(trimmed, _NOTHING))
        places = np.nonzero(odd.fill_null(False).to_numpy())[0].tolist()
        bad = {place: f"`{str(trimmed[place].as_py())[:40]}` is no number" for place in places}
        return Numbers(_floats(values.cast(pyarrow.float64())), bad)
    if pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_decimal(kind) or pyarrow.types.is_null(kind):
        return Numbers(_floats(column.cast(pyarrow.float64(), safe=False)), {})
    raise TraceError(f"the column `{name}` is of type {kind}, not of numbers", "write numbers into it")


def is_text(column: "pyarrow.ChunkedArray") -> bool:
    """Dictionaries of text too."""
    import pyarrow

    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def prefix_blocks(column: "pyarrow.ChunkedArray", name: str, block_tokens: int) -> PrefixBlocks:
    """Lists of ids, numbers or text, or text of ids with spaces between. Raises `TraceError` for anything else."""
    import pyarrow
    import pyarrow.compute as compute

    if is_text(column):
        trimmed = compute.utf8_trim_whitespace(column.cast(pyarrow.large_string()).fill_null(""))
        column = compute.utf8_split_whitespace(compute.if_else(compute.equal(trimmed, ""), None, trimmed))
    if not (pyarrow.types.is_list(column.type) or pyarrow.types.is_large_list(column.type)):
        raise TraceError(f"the column `{name}` is of type {column.type}, not of lists of blocks", "write ids with spaces between: `0 1 2`")
    counts = compute.list_value_length(column).fill_null(0).to_numpy().astype(np.int64)
    flat = compute.list_flatten(column).combine_chunks()
    if flat.null_count:
        raise TraceError(f"an id in `{name}` is missing", "leave it out of its list, or give the block an id")
    ids = flat.dictionary_encode().indices.to_numpy().astype(np.int64)
    return PrefixBlocks(np.concatenate(([0], np.cumsum(counts))), ids, block_tokens)


def _floats(column: "pyarrow.ChunkedArray") -> Floats:
    return np.asarray(column.to_numpy(), np.float64)
