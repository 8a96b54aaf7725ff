"""Which replica gets a request: by turns, by the least work, or by the longest prefix that is there. Replicas count by their speed.

The true state at that time is known: a router that scrapes metrics every few seconds knows less.
"""

from penstock.domain.simulation import engine_prefix as prefix
from penstock.domain.simulation.compiled import compiled
from penstock.domain.simulation.engine_batch import steps_until
from penstock.domain.simulation.engine_state import LEAST_REQUESTS, LEAST_TOKENS, PREFIX, READY, ROUND_ROBIN, Record, State

CROWDED = 2.0
"""times the least load at which a prefix is no reason any more"""
CROWDED_STEPS = 4
"""and this many steps' tokens above it, so that an idle fleet keeps its prefixes together"""


@compiled
def can_serve(state: State, slot: int, request: Record) -> bool:
    """Ready, and the request is not too long for it."""
    replica = state.slots[slot]
    return bool(replica.status == READY and request.input + request.output <= state.kinds[replica.kind].longest)


@compiled
def by_turns(state: State, request: Record) -> int:
    """Smooth weighted round robin, as nginx has it: equal replicas come in their order."""
    slots = state.slots
    best, total = -1, 0.0
    for slot in range(len(slots)):
        if can_serve(state, slot, request):
            speed = state.kinds[slots[slot].kind].speed
            slots[slot].credit += speed
            total += speed
            if best < 0 or slots[slot].credit > slots[best].credit:
                best = slot
    if best >= 0:
        slots[best].credit -= total
    return best


@compiled
def load(state: State, slot: int, request: Record, way: int) -> float:
    """Work of a replica with the request, in its own time."""
    replica = state.slots[slot]
    work = replica.running + replica.waiting + 1
    if way != LEAST_REQUESTS:
        work = replica.tokens + request.input + request.output
    return float(work / state.kinds[replica.kind].speed)


@compiled
def least(state: State, request: Record, way: int) -> int:
    """The replica with the least load, of equal ones that which was started first."""
    slots = state.slots
    best, lowest = -1, 0.0
    for slot in range(len(slots)):
        if can_serve(state, slot, request):
            found = load(state, slot, request, way)
            if best < 0 or found < lowest or (found == lowest and slots[slot].serial < slots[best].serial):
                best, lowest = slot, found
    return best


@compiled
def by_prefix(state: State, request: Record, at_s: float) -> int:
    """The longest prefix, unless its replica is crowded; else, and among equal ones, the least tokens."""
    best = least(state, request, LEAST_TOKENS)
    if best < 0:
        return -1
    lowest = lightest = load(state, best, request, LEAST_TOKENS)
    longest = 0
    for slot in range(len(state.slots)):
        if not can_serve(state, slot, request):
            continue
        kind = state.kinds[state.slots[slot].kind]
        found = load(state, slot, request, LEAST_TOKENS)
        if found > CROWDED * lowest + CROWDED_STEPS * kind.step_tokens / kind.speed:
            continue
        forget_overgrown(state, slot, at_s)
        there = prefix.hits(state, slot, request)
        if there > longest or (there == longest and there > 0 and found < lightest):
            best, longest, lightest = slot, there, found
    return best


@compiled
def forget_overgrown(state: State, slot: int, at_s: float) -> None:
    """Forgets the blocks that the batch has grown over by now."""
    replica = state.slots[slot]
    grown = max(steps_until(state, slot, at_s) - 1, 0) * replica.batch
    prefix.evict(state, slot, state.kinds[replica.kind].kv_tokens - replica.memory - grown)


@compiled
def route(state: State, number: int, at_s: float) -> int:
    """The slot that gets a request now; -1: no ready replica can hold it."""
    request, way = state.requests[number], state.gateway[0].routing
    if way == ROUND_ROBIN:
        return by_turns(state, request)
    if way == PREFIX:
        return by_prefix(state, request, at_s)
    return least(state, request, way)
