"""One replica's continuous batch, from segment to segment: what ends, what is preempted, what comes in, how far the next segment goes.

A segment's k decode steps of B sequences that read S tokens at first take `k a + b k (k - 1) / 2` seconds, with
`a = decode_s[B] + context_s S` and `b = context_s B`: nothing but the context changes until a sequence ends, memory is full or
a request comes in.
"""

import math

import numpy as np

from penstock.domain.simulation import engine_prefix as prefix
from penstock.domain.simulation.compiled import compiled
from penstock.domain.simulation.engine_state import (
    DECODE,
    DRAINING,
    GONE,
    KV_MEMORY,
    MAX_SEQUENCES,
    PREFILL,
    Record,
    State,
    Table,
)
from penstock.domain.simulation.replica import SERVED
from penstock.domain.simulation.trace import Ints

HALF = 0.5


@compiled
def sooner(requests: Table, one: int, other: int) -> bool:
    """Which of two decoding requests ends first; of equal ones that which came first."""
    first, second = requests[one].last_step, requests[other].last_step
    return bool(one < other if first == second else first < second)


@compiled
def sift_up(requests: Table, heap: Ints, at: int, request: int) -> None:
    """Puts a decoding request where it belongs, from the leaf `at` on."""
    while at > 0:
        parent = (at - 1) >> 1
        if not sooner(requests, request, heap[parent]):
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = request


@compiled
def take_out(requests: Table, heap: Ints, size: int, at: int) -> None:
    """Removes the entry `at` of a heap that has `size` entries afterwards."""
    last = heap[size]
    if at == size:
        return
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and sooner(requests, heap[child + 1], heap[child]):
            child += 1
        if not sooner(requests, heap[child], last):
            break
        heap[at] = heap[child]
        at = child
    sift_up(requests, heap, at, last)


@compiled
def join_batch(requests: Table, replica: Record, request: int) -> None:
    """As its youngest."""
    requests[request].before, requests[request].after = replica.youngest, -1
    if replica.youngest < 0:
        replica.oldest = request
    else:
        requests[replica.youngest].after = request
    replica.youngest = request
    replica.running += 1


@compiled
def leave_batch(requests: Table, replica: Record, request: int) -> None:
    older, younger = requests[request].before, requests[request].after
    if older < 0:
        replica.oldest = younger
    else:
        requests[older].after = younger
    if younger < 0:
        replica.youngest = older
    else:
        requests[younger].before = older
    replica.running -= 1


@compiled
def wait_last(requests: Table, replica: Record, request: int) -> None:
    requests[request].after = -1
    if replica.wait_last < 0:
        replica.wait_first = request
    else:
        requests[replica.wait_last].after = request
    replica.wait_last = request
    replica.waiting += 1


@compiled
def wait_first(requests: Table, replica: Record, request: int) -> None:
    requests[request].after = replica.wait_first
    replica.wait_first = request
    if replica.wait_last < 0:
        replica.wait_last = request
    replica.waiting += 1


@compiled
def give_back(state: State, slot: int, request: Record, held: int, filled: int) -> None:
    """The request's memory: `held` tokens, of which the blocks within `filled` tokens can be used by others."""
    full = prefix.full_blocks(state, slot, request)
    if full:
        held -= (full - prefix.release(state, slot, request, filled)) * state.gateway[0].block_tokens
    state.slots[slot].memory -= held


@compiled
def end(state: State, slot: int, number: int, at_s: float) -> None:
    """The last token of a request that is in the heap no more."""
    request, replica = state.requests[number], state.slots[slot]
    context = request.input + request.output
    leave_batch(state.requests, replica, number)
    give_back(state, slot, request, context, context)
    replica.tokens -= context
    request.emitted, request.finish_s, request.fate = request.output, at_s, SERVED
    state.gateway[0].ended += 1


@compiled
def preempt(state: State, slot: int) -> None:
    """The youngest request loses its memory and goes to the front of the queue; what it emitted becomes part of its prompt."""
    replica = state.slots[slot]
    number = replica.youngest
    request = state.requests[number]
    filled = request.computed
    if number == replica.fresh:
        replica.fresh = -1
        held = request.input + request.emitted
    else:
        heap, at = state.heaps[slot], 0
        while heap[at] != number:
            at += 1
        request.emitted = request.output - (request.last_step - replica.step)
        held = request.input + request.emitted
        filled = held - 1  # the next step would have read its last token
        replica.batch -= 1
        replica.context -= held
        take_out(state.requests, heap, replica.batch, at)
    leave_batch(state.requests, replica, number)
    give_back(state, slot, request, held, filled)
    request.preemptions += 1
    keep(state, slot, number, filled)
    wait_first(state.requests, replica, number)


@compiled
def keep(state: State, slot: int, number: int, filled: int) -> None:
    """What a preempted request computed after its full blocks stays until somebody needs the room."""
    request, replica = state.requests[number], state.slots[slot]
    request.before, request.kept = -1, 0
    if replica.wait_first >= 0:
        state.requests[replica.wait_first].before = number
    if state.kinds[replica.kind].caches == 1:
        request.kept = max(filled - request.full * state.gateway[0].block_tokens, 0)
        replica.kept += request.kept
        if replica.kept_oldest < 0 and request.kept > 0:
            replica.kept_oldest = number


@compiled
def take_first(state: State, slot: int) -> None:
    """The first waiting request waits no more, and what it left is its own again."""
    replica = state.slots[slot]
    request = state.requests[replica.wait_first]
    if replica.kept_oldest == replica.wait_first:
        replica.kept_oldest = -1
    replica.kept -= request.kept
    request.kept = 0
    replica.wait_first = request.after
    if replica.wait_first < 0:
        replica.wait_last = -1
    else:
        state.requests[replica.wait_first].before = -1
    replica.waiting -= 1


@compiled
def admit(state: State, slot: int) -> bool:
    """Takes the first waiting request into the batch, if its whole prompt fits (vLLM's `scheduler_reserve_full_isl`)."""
    replica, kind = state.slots[slot], state.kinds[state.slots[slot].kind]
    number = replica.wait_first
    request = state.requests[number]
    tokens = state.gateway[0].block_tokens
    full = prefix.full_blocks(state, slot, request)
    need = request.input + request.emitted
    room = kind.kv_tokens - replica.memory - (need - full * tokens)
    if room < 0 or (full > 0 and room < tokens * prefix.unheld(state, slot, request)):
        return False
    there = prefix.hits(state, slot, request)
    request.computed = min(there * tokens + (request.kept if there == full else 0), need - 1)
    if request.preemptions == 0:
        request.reused = request.computed
    if full > 0:
        room -= tokens * prefix.hold(state, slot, request)
    take_first(state, slot)
    prefix.evict(state, slot, room)
    replica.memory = kind.kv_tokens - room
    join_batch(state.requests, replica, number)
    if replica.fresh < 0:
        replica.fresh = number
    return True


@compiled
def decoded_s(state: State, slot: int, steps: int) -> float:
    """Seconds of the first `steps` decode steps from the segment's begin."""
    replica = state.slots[slot]
    context_s = state.kinds[replica.kind].context_s
    first = state.decode_s[replica.kind, replica.batch] + context_s * replica.context
    return float(steps * first + context_s * replica.batch * (HALF * steps * (steps - 1.0)))


@compiled
def steps_until(state: State, slot: int, at_s: float) -> int:
    """The least number of the segment's steps, from 1, that end at `at_s` or after it; all of them where none does."""
    replica = state.slots[slot]
    if replica.steps <= 1:
        return int(replica.steps)
    context_s, asked = state.kinds[replica.kind].context_s, at_s - replica.begin_s
    grows = HALF * context_s * replica.batch
    first = state.decode_s[replica.kind, replica.batch] + context_s * replica.context - grows
    root = math.sqrt(first * first + 4.0 * grows * max(asked, 0.0))
    number = min(max(math.ceil(2.0 * asked / (first + root)), 1), replica.steps)
    while number < replica.steps and replica.begin_s + decoded_s(state, slot, number) < at_s:
        number += 1
    while number > 1 and replica.begin_s + decoded_s(state, slot, number - 1) >= at_s:
        number -= 1
    return int(number)


@compiled
def shorten(state: State, slot: int, at_s: float) -> None:
    """Ends the segment with the step that runs at `at_s`."""
    replica = state.slots[slot]
    if replica.steps > 1 and replica.end_s > at_s:
        replica.steps = steps_until(state, slot, at_s)
        replica.end_s = replica.begin_s + decoded_s(state, slot, replica.steps)


@compiled
def count_waits(state: State, slot: int) -> None:
    replica = state.slots[slot]
    spent = replica.waited * (replica.end_s - replica.begin_s) + replica.joined * replica.end_s - replica.joined_s
    state.waits_s[replica.cause] += max(spent, 0.0)


@compiled
def finish_segment(state: State, slot: int) -> None:
    """Books what the segment did: tokens, first tokens, requests that end."""
    replica, heap = state.slots[slot], state.heaps[slot]
    at_s, steps = replica.end_s, replica.steps
    count_waits(state, slot)
    if steps > 0:
        grown = steps * replica.batch
        prefix.evict(state, slot, state.kinds[replica.kind].kv_tokens - replica.memory - grown + replica.batch)
        replica.step += steps
        replica.context += grown
        replica.memory += grown
        replica.busy_s += at_s - replica.begin_s
        while replica.batch > 0 and state.requests[heap[0]].last_step == replica.step:
            number = heap[0]
            replica.batch -= 1
            take_out(state.requests, heap, replica.batch, 0)
            replica.context -= state.requests[number].input + state.requests[number].output
            end(state, slot, number, at_s)
        if replica.fresh >= 0:
            finish_prompts(state, slot, at_s)
    replica.begin_s = at_s


@compiled
def finish_prompts(state: State, slot: int, at_s: float) -> None:
    """Every prompt that was read to its end gives a token; the one that was not stays `fresh`."""
    replica, gateway = state.slots[slot], state.gateway[0]
    number = replica.fresh
    replica.fresh = -1
    while number >= 0:
        request = state.requests[number]
        younger = request.after
        if request.computed < request.input + request.emitted:
            replica.fresh = number
            return
        request.emitted += 1
        replica.memory += 1
        if math.isnan(request.first_token_s):
            request.first_token_s = at_s
            state.firsts[gateway.firsts] = number
            gateway.firsts += 1
        if request.emitted == request.output:
            end(state, slot, number, at_s)
        else:
            request.last_step = replica.step + request.output - request.emitted
            replica.context += request.input + request.emitted
            sift_up(state.requests, state.heaps[slot], replica.batch, number)
            replica.batch += 1
        number = younger


@compiled
def read_prompts(state: State, slot: int, allowed: bool) -> tuple[int, float]:
    """Fills the next step with prompts: their tokens, and the sum of the tokens before each. Notes why others must wait."""
    replica, kind = state.slots[slot], state.kinds[state.slots[slot].kind]
    left, read, before = kind.step_tokens - replica.batch, 0, 0.0
    replica.cause = DECODE
    number = replica.fresh
    while True:
        if number < 0:
            if replica.waiting == 0:
                break
            if replica.running == kind.max_sequences:
                replica.cause = MAX_SEQUENCES
                break
            if left == 0:
                replica.cause = PREFILL
                break
            if not (allowed and admit(state, slot)):
                replica.cause = KV_MEMORY
                break
            number = replica.youngest
        request = state.requests[number]
        done = request.computed
        chunk = min(request.input + request.emitted - done, left)
        request.computed += chunk
        read += chunk
        left -= chunk
        before += chunk * (done + HALF * (chunk - 1))
        number = -1
    if replica.cause == DECODE and read > 0:
        replica.cause = PREFILL
    return read, before


@compiled
def plan(state: State, slot: int) -> None:
    """The next segment: one step with prompts, else decode steps up to the next event, else none."""
    replica, kind = state.slots[slot], state.kinds[state.slots[slot].kind]
    allowed = bool(replica.memory <= kind.kv_tokens)
    while replica.memory > kind.kv_tokens:
        preempt(state, slot)
    read, before = read_prompts(state, slot, allowed)
    replica.waited, replica.joined, replica.joined_s = replica.waiting, 0, 0.0
    replica.steps = 1
    if read > 0:
        took = kind.prefill_s * read + kind.attention_s * before
        replica.end_s = replica.begin_s + decoded_s(state, slot, 1) + took
    elif replica.batch > 0:
        if allowed or replica.waiting == 0:
            until_end = state.requests[state.heaps[slot, 0]].last_step - replica.step
            until_full = (kind.kv_tokens - replica.memory) // replica.batch + 1
            replica.steps = min(until_end, until_full)
        replica.end_s = replica.begin_s + decoded_s(state, slot, replica.steps)
    else:
        replica.steps = 0
        replica.end_s = np.inf
        if replica.status == DRAINING:
            replica.status, replica.gone_s = GONE, replica.begin_s
