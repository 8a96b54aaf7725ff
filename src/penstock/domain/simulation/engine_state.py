"""What the kernel knows while a fleet runs: tables of kinds, requests, slots and blocks of prefixes, and the gateway's few numbers.

A slot is a place for one replica; it is used again when its replica is gone. Requests that wait and requests in a batch are linked
lists through `after` and `before`: a request is in one list at a time. -1 is nobody, everywhere. Times are seconds from the begin of the
trace. Tables are arrays of records: machine code takes a record by its address, and one array costs less to hand over than twenty.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from penstock.domain.simulation.replica import UNFINISHED, ReplicaKind
from penstock.domain.simulation.trace import Floats, Ints, Trace

Table: TypeAlias = "np.recarray[Any, Any]"
Record: TypeAlias = Any

EMPTY, STARTING, READY, DRAINING, GONE = range(5)
"""what a slot holds: nothing; a replica that loads; that serves; that takes no more requests; that ended and is not settled yet"""

COLD_START, KV_MEMORY, MAX_SEQUENCES, PREFILL, DECODE = range(5)
"""why requests wait: no replica is ready; their tokens have no room; the batch is full; prompts before them fill the steps; a step runs"""

ROUND_ROBIN, LEAST_REQUESTS, LEAST_TOKENS, PREFIX = range(4)


def record(*fields: tuple[str, str]) -> np.dtype[np.void]:
    """A record of these fields, each where the processor reads it at once."""
    return np.dtype(list(fields), align=True)


KIND = record(
    ("context_s", "f8"),
    ("prefill_s", "f8"),
    ("attention_s", "f8"),
    ("kv_tokens", "i8"),
    ("longest", "i8"),  # tokens of prompt and answer
    ("max_sequences", "i8"),
    ("step_tokens", "i8"),
    ("caches", "i8"),  # 1: keeps prefixes
    ("speed", "f8"),  # requests of the trace per second with full batches, by that of the fastest kind
)
REQUEST = record(
    ("arrival_s", "f8"),
    ("input", "i8"),
    ("output", "i8"),
    ("block", "i8"),  # its first one in `State.blocks`
    ("full", "i8"),  # blocks that its prompt fills and whose contents are known
    ("emitted", "i8"),
    ("computed", "i8"),  # of the tokens that its prefill reads: prompt and what was emitted before it lost its memory
    ("last_step", "i8"),  # number of its replica's step that emits its last token
    ("kept", "i8"),  # tokens after the full blocks that its memory still had when last looked at, since it was preempted
    ("after", "i8"),
    ("before", "i8"),  # in a batch, and between preempted requests that wait
    ("since_s", "f8"),  # held at the gateway since then
    ("first_token_s", "f8"),
    ("finish_s", "f8"),
    ("reused", "i8"),
    ("replica", "i4"),
    ("preemptions", "i4"),
    ("preset", "i1"),  # `SERVED` by the fleet, or `CACHED`, `SPILLED` whatever the fleet does
    ("lucky", "i1"),  # 1: a cache would answer it while no replica is ready
    ("fate", "i1"),
)
SLOT = record(
    ("status", "i8"),
    ("kind", "i8"),
    ("serial", "i8"),  # which replica of the run it is
    ("ready_s", "f8"),
    ("gone_s", "f8"),
    # A segment is what a replica is at: one step with prefill, or equal decode steps up to the next event.
    ("begin_s", "f8"),
    ("end_s", "f8"),  # endless: idle
    ("steps", "i8"),  # 0: only a wake-up
    ("step", "i8"),  # steps made before the segment
    ("batch", "i8"),  # sequences that decode
    ("context", "i8"),  # tokens that their next step reads
    ("memory", "i8"),  # tokens held in the segment's first step, prompts that are read included; grows by `batch` a step
    ("fresh", "i8"),  # the first request whose prompt the segment reads; those after it in the batch are read, too
    ("running", "i8"),
    ("oldest", "i8"),
    ("youngest", "i8"),
    ("waiting", "i8"),
    ("wait_first", "i8"),
    ("wait_last", "i8"),
    ("tokens", "i8"),  # of requests that wait or run, answers as long as they will become
    ("busy_s", "f8"),  # before the segment
    ("cause", "i8"),  # why requests wait for the segment's end
    ("waited", "i8"),  # requests that waited when it began
    ("joined", "i8"),  # requests that came since
    ("joined_s", "f8"),  # sum of when they came
    ("credit", "f8"),  # of weighted round robin
    ("idle", "i8"),  # blocks that no request holds
    ("idle_oldest", "i8"),
    ("idle_newest", "i8"),
    ("free", "i8"),  # a node without a block
    ("kept", "i8"),  # tokens that preempted requests left and nobody needed yet
    ("kept_oldest", "i8"),  # the request that was preempted first among them
)
NODE = record(
    ("block", "i8"),
    ("holders", "i8"),  # requests in the batch that have it in their prompt
    ("newer", "i8"),  # of the idle ones; of free nodes the next
    ("older", "i8"),
)
GATEWAY = record(
    ("routing", "i8"),
    ("longest", "i8"),  # tokens that the largest kind takes
    ("block_tokens", "i8"),
    ("spill_after_s", "f8"),
    ("spill_ttft_s", "f8"),
    ("spill_tpot_s", "f8"),
    ("next", "i8"),  # request to come
    ("next_ready_s", "f8"),  # when the next replica has loaded
    ("held", "i8"),
    ("held_first", "i8"),
    ("held_last", "i8"),
    ("held_tokens", "i8"),
    ("firsts", "i8"),  # entries of `State.firsts`
    ("ended", "i8"),  # requests whose fate is known
    ("turn", "i8"),  # replicas that were ever started
)


class State(NamedTuple):
    """All of it."""

    kinds: Table
    decode_s: Floats
    """(kinds, most sequences + 1)"""
    requests: Table
    blocks: Ints
    slots: Table
    heaps: Ints
    """(slots, most sequences): the decoding requests, a heap by `last_step`"""
    places: Ints
    """(slots, a power of two): a hash table of blocks, node + 1 or 0"""
    nodes: Table
    """(slots, nodes)"""
    gateway: Table
    """one record"""
    waits_s: Floats
    """seconds that requests waited, by cause"""
    firsts: Ints
    """requests in the order in which first tokens came, a batch's at once"""


def empty_table(shape: int | tuple[int, ...], form: np.dtype[np.void]) -> Table:
    """Zeros."""
    return np.zeros(shape, form).view(np.recarray)


def kinds_of(kinds: tuple[ReplicaKind, ...], speeds: list[float]) -> tuple[Table, Floats]:
    """The kinds' constants, and their decode steps."""
    widest = max(kind.max_sequences for kind in kinds)
    decode, table = np.full((len(kinds), widest + 1), np.inf), empty_table(len(kinds), KIND)
    for at, (kind, speed) in enumerate(zip(kinds, speeds, strict=True)):
        decode[at, : kind.max_sequences + 1] = kind.times.decode_s[: kind.max_sequences + 1]
        times = (kind.times.context_s, kind.times.prefill_s, kind.times.attention_s)
        longest = min(kind.kv_tokens, kind.max_context or kind.kv_tokens)
        table[at] = (*times, kind.kv_tokens, longest, kind.max_sequences, kind.step_tokens, kind.prefix_cache, speed)
    return table, decode


def requests_of(trace: Trace, preset: Ints, lucky: Ints) -> Table:
    """Nothing has happened yet."""
    table = empty_table(trace.requests, REQUEST)
    table.arrival_s, table.input, table.output = trace.arrival_s, trace.input_tokens, trace.output_tokens
    if len(trace.block_start):
        table.block = trace.block_start[:-1]
        table.full = np.minimum(np.diff(trace.block_start), table.input // trace.block_tokens)
    table.preset, table.lucky, table.fate = preset, lucky, UNFINISHED
    table.first_token_s = table.finish_s = np.nan
    table.replica = table.after = table.before = -1
    return table


def slots_of(count: int) -> Table:
    """Empty slots."""
    table = empty_table(count, SLOT)
    for field in ("fresh", "oldest", "youngest", "wait_first", "wait_last", "idle_oldest", "idle_newest", "kept_oldest"):
        table[field] = -1
    table.end_s = np.inf
    return table


def nodes_of(trace: Trace, kinds: tuple[ReplicaKind, ...]) -> int:
    """Blocks that a slot may have at once: as many as fit, and a prompt that comes in before others go; 0 without a prefix to keep."""
    room = max((kind.kv_tokens // trace.block_tokens for kind in kinds if kind.prefix_cache), default=0)
    if not len(trace.blocks) or not room:
        return 0
    return min(2 * room, int(np.max(trace.blocks)) + 1)


def places_of(slots: int, nodes: int) -> Ints:
    """A hash table for each slot, at most half full."""
    return np.zeros((slots, 1 << (2 * nodes).bit_length()), np.int64)


def gateway_of(routing: int, longest: int, block_tokens: int, spill: tuple[float, float, float]) -> Table:
    """`longest`: tokens of the longest request that any replica takes. `spill`: seconds after which a held request goes elsewhere, and its
    time to first and per further token there.
    """
    table = empty_table(1, GATEWAY)
    table.routing, table.longest, table.block_tokens = routing, longest, block_tokens
    table.spill_after_s, table.spill_ttft_s, table.spill_tpot_s = spill
    table.next_ready_s, table.held_first, table.held_last = np.inf, -1, -1
    return table


def more_slots(state: State) -> State:
    """Twice as many slots; those there keep their numbers."""
    count = len(state.slots)
    return state._replace(
        slots=np.concatenate((state.slots, slots_of(count))).view(np.recarray),
        heaps=np.concatenate((state.heaps, np.zeros_like(state.heaps))),
        places=np.concatenate((state.places, np.zeros_like(state.places))),
        nodes=np.concatenate((state.nodes, np.zeros_like(state.nodes))).view(np.recarray),
    )
