"""Some requests of a trace, with the prefix blocks that belong to them."""

import numpy as np

from penstock.domain.simulation.trace import NO_BLOCKS, Ints, Trace


def selected(trace: Trace, indices: Ints) -> Trace:
    """The requests at these places, in this order; the order has to be that of arrival still. Block ids stay as they are."""
    start, blocks = taken(trace.block_start, trace.blocks, indices) if len(trace.block_start) else (NO_BLOCKS, NO_BLOCKS)
    return trace._replace(
        arrival_s=trace.arrival_s[indices],
        input_tokens=trace.input_tokens[indices],
        output_tokens=trace.output_tokens[indices],
        block_start=start,
        blocks=blocks,
    )


def taken(start: Ints, blocks: Ints, indices: Ints) -> tuple[Ints, Ints]:
    """Lists of blocks as in a trace (`n + 1` starts), those at these places: their starts and blocks."""
    counts = np.diff(start)[indices]
    begin = np.concatenate(([0], np.cumsum(counts)))
    within = np.arange(begin[-1]) - np.repeat(begin[:-1], counts)
    return begin, blocks[np.repeat(start[indices], counts) + within]
