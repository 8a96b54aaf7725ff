"""The event loop of a fleet: requests come, are held, routed, spilled or answered by a cache, while replicas work their segments.

Between two events every replica is brought up to date; what happens at the same instant is in this order: a replica is ready, a request
comes, a held one is spilled, steps begin. So a step takes in what came until its begin.
"""

import math

import numpy as np

from penstock.domain.simulation import engine_prefix as prefix
from penstock.domain.simulation.compiled import compiled
from penstock.domain.simulation.engine_batch import count_waits, finish_segment, plan, shorten, steps_until, wait_last
from penstock.domain.simulation.engine_routing import route
from penstock.domain.simulation.engine_state import COLD_START, DRAINING, GONE, READY, STARTING, State
from penstock.domain.simulation.replica import CACHED, REFUSED, SPILLED


@compiled
def run_until(state: State, until_s: float) -> None:
    """Everything that happens before `until_s`."""
    requests, gateway = state.requests, state.gateway[0]
    while True:
        comes = spills = np.inf
        if gateway.next < len(requests):
            comes = requests[gateway.next].arrival_s
        if gateway.held_first >= 0:
            spills = requests[gateway.held_first].since_s + gateway.spill_after_s
        at_s = min(comes, spills, gateway.next_ready_s)
        if at_s >= until_s:
            work(state, until_s)
            return
        work(state, at_s)
        if gateway.next_ready_s == at_s:
            make_ready(state, at_s)
            dispatch_held(state, at_s)
        elif comes == at_s:
            gateway.next += 1
            arrive(state, gateway.next - 1, at_s)
        else:
            spill(state, take_first(state, at_s), at_s)


@compiled
def work(state: State, until_s: float) -> None:
    """Brings every replica to the last of its segments that ends before `until_s`."""
    for slot in range(len(state.slots)):
        while state.slots[slot].end_s < until_s:
            finish_segment(state, slot)
            plan(state, slot)


@compiled
def make_ready(state: State, at_s: float) -> None:
    """Replicas whose cold start is over serve."""
    for slot in range(len(state.slots)):
        replica = state.slots[slot]
        if replica.status == STARTING and replica.ready_s <= at_s:
            replica.status = READY
    look_ahead(state)


@compiled
def look_ahead(state: State) -> None:
    """Notes when the next replica has loaded."""
    following = np.inf
    for slot in range(len(state.slots)):
        if state.slots[slot].status == STARTING:
            following = min(following, state.slots[slot].ready_s)
    state.gateway[0].next_ready_s = following


@compiled
def outside(state: State, number: int, fate: int, first_s: float, finish_s: float) -> None:
    """A request that something else than the fleet answers, or that nobody can."""
    request = state.requests[number]
    if math.isnan(request.first_token_s):
        request.first_token_s = first_s
    request.finish_s, request.fate, request.replica = finish_s, fate, -1
    state.gateway[0].ended += 1


@compiled
def spill(state: State, number: int, at_s: float) -> None:
    """What it emitted before its replica was lost stays."""
    request, gateway = state.requests[number], state.gateway[0]
    first_s = at_s + gateway.spill_ttft_s
    outside(state, number, SPILLED, first_s, first_s + (request.output - request.emitted - 1) * gateway.spill_tpot_s)


@compiled
def arrive(state: State, number: int, at_s: float) -> None:
    """A request comes to the gateway."""
    request = state.requests[number]
    if request.preset == CACHED:
        outside(state, number, CACHED, at_s, at_s)
    elif request.preset == SPILLED:
        spill(state, number, at_s)
    elif request.input + request.output > state.gateway[0].longest:
        outside(state, number, REFUSED, np.nan, np.nan)
    else:
        send(state, number, at_s)


@compiled
def send(state: State, number: int, at_s: float) -> None:
    """To a replica; where none can have it, to the cache that shields the fleet, or among those who are held."""
    request, gateway = state.requests[number], state.gateway[0]
    slot = route(state, number, at_s)
    if slot >= 0:
        enqueue(state, slot, number, at_s)
        return
    if request.lucky == 1 and request.emitted == 0:
        outside(state, number, CACHED, at_s, at_s)
        return
    request.since_s, request.replica, request.after = at_s, -1, -1
    if gateway.held_last < 0:
        gateway.held_first = number
    else:
        state.requests[gateway.held_last].after = number
    gateway.held_last = number
    gateway.held += 1
    gateway.held_tokens += request.input + request.output


@compiled
def take_first(state: State, at_s: float) -> int:
    """Removes the request that is held longest."""
    gateway = state.gateway[0]
    number = gateway.held_first
    request = state.requests[number]
    gateway.held_first = request.after
    if gateway.held_first < 0:
        gateway.held_last = -1
    gateway.held -= 1
    gateway.held_tokens -= request.input + request.output
    state.waits_s[COLD_START] += at_s - request.since_s
    return int(number)


@compiled
def dispatch_held(state: State, at_s: float) -> None:
    """Routes all who are held; who cannot be served yet keeps both place and time."""
    gateway = state.gateway[0]
    for _ in range(gateway.held):
        since_s = state.requests[gateway.held_first].since_s
        number = take_first(state, at_s)
        send(state, number, at_s)
        if gateway.held_last == number:
            state.requests[number].since_s = since_s
            state.waits_s[COLD_START] -= at_s - since_s


@compiled
def enqueue(state: State, slot: int, number: int, at_s: float) -> None:
    """Puts a request at the end of a replica's queue; the running segment ends early if it could come into the batch then."""
    request, replica = state.requests[number], state.slots[slot]
    request.replica = replica.serial
    replica.tokens += request.input + request.output
    alone = replica.waiting == 0
    wait_last(state.requests, replica, number)
    if replica.end_s == np.inf:
        replica.begin_s = replica.end_s = at_s
        replica.waited, replica.joined, replica.joined_s = 0, 0, 0.0
        return
    replica.joined += 1
    replica.joined_s += at_s
    if alone and replica.running < state.kinds[replica.kind].max_sequences:
        shorten(state, slot, at_s)


@compiled
def start(state: State, slot: int, kind: int, ready_s: float) -> None:
    """A new replica in an empty slot."""
    replica, gateway = state.slots[slot], state.gateway[0]
    replica.status, replica.kind, replica.serial, replica.ready_s = STARTING, kind, gateway.turn, ready_s
    replica.step, replica.busy_s, replica.credit, replica.end_s = 0, 0.0, 0.0, np.inf
    prefix.clear(state, slot)
    gateway.turn += 1
    gateway.next_ready_s = min(gateway.next_ready_s, ready_s)


@compiled
def stop(state: State, slot: int, at_s: float) -> None:
    """A replica that loads is gone at once, another one when it has finished what it has."""
    replica = state.slots[slot]
    if replica.status == STARTING or replica.end_s == np.inf:
        replica.status, replica.gone_s = GONE, at_s
        look_ahead(state)
    else:
        replica.status = DRAINING


@compiled
def kill(state: State, slot: int, at_s: float) -> None:
    """A replica is lost with all it held; its requests go elsewhere, those in its batch first, and are computed again."""
    requests, replica = state.requests, state.slots[slot]
    done = max(steps_until(state, slot, at_s) - 1, 0)
    if replica.end_s < np.inf:
        if replica.steps > 0:
            replica.busy_s += at_s - replica.begin_s
        replica.end_s = at_s
        count_waits(state, slot)
    for at in range(replica.batch):
        request = requests[state.heaps[slot, at]]
        request.emitted = request.output - (request.last_step - replica.step - done)
    running, waiting = replica.oldest, replica.wait_first
    replica.status, replica.gone_s, replica.end_s = GONE, at_s, np.inf
    replica.steps = replica.batch = replica.context = replica.memory = replica.running = replica.waiting = replica.tokens = 0
    replica.fresh = replica.oldest = replica.youngest = replica.wait_first = replica.wait_last = replica.kept_oldest = -1
    replica.kept = 0
    look_ahead(state)
    while running >= 0:
        following = requests[running].after
        requests[running].preemptions += 1
        send(state, running, at_s)
        running = following
    while waiting >= 0:
        following = requests[waiting].after
        requests[waiting].kept = 0
        send(state, waiting, at_s)
        waiting = following


@compiled
def memory_used(state: State, at_s: float) -> tuple[int, int]:
    """Tokens held in the ready replicas' memory, and tokens that it holds."""
    used, room = 0, 0
    for slot in range(len(state.slots)):
        replica = state.slots[slot]
        if replica.status == READY:
            used += replica.memory + max(steps_until(state, slot, at_s) - 1, 0) * replica.batch
            room += state.kinds[replica.kind].kv_tokens
    return used, room
