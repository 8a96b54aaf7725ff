"""The prefix cache of a replica: blocks of prompts stay where running requests leave room, the least recently used ones go first.

A block is held by the requests in the batch that have it in their prompt, and counts once, as in vLLM. When the last of them ends it is
idle, later blocks of a prompt before earlier ones, so that a prompt is forgotten from its end. What a preempted request had of its own
stays as well, as in vLLM, until others need the room: when it comes back it reads only what is lost.
"""

from penstock.domain.simulation.compiled import compiled
from penstock.domain.simulation.engine_state import Record, State

SCATTER = 0x9E3779B1
"""2**32 by the golden ratio (Knuth, multiplicative hashing)"""


@compiled
def place(state: State, slot: int, block: int) -> int:
    """Where the table has a block, or the empty place that it would get."""
    mask = state.places.shape[1] - 1
    at = (block * SCATTER >> 7) & mask
    while True:
        node = state.places[slot, at] - 1
        if node < 0 or state.nodes[slot, node].block == block:
            return int(at)
        at = (at + 1) & mask


@compiled
def wake(state: State, slot: int, node: int) -> None:
    """A block is idle no more."""
    replica, nodes = state.slots[slot], state.nodes
    newer, older = nodes[slot, node].newer, nodes[slot, node].older
    if older < 0:
        replica.idle_oldest = newer
    else:
        nodes[slot, older].newer = newer
    if newer < 0:
        replica.idle_newest = older
    else:
        nodes[slot, newer].older = older
    replica.idle -= 1


@compiled
def lay(state: State, slot: int, node: int) -> None:
    """A block is idle from now on."""
    replica, nodes = state.slots[slot], state.nodes
    last = replica.idle_newest
    nodes[slot, node].older = last
    nodes[slot, node].newer = -1
    if last < 0:
        replica.idle_oldest = node
    else:
        nodes[slot, last].newer = node
    replica.idle_newest = node
    replica.idle += 1


@compiled
def forget(state: State, slot: int, node: int) -> None:
    """Takes a block that is not idle out of the table; what stood behind it by collision moves up (Knuth 6.4, algorithm R)."""
    places, nodes = state.places, state.nodes
    mask = places.shape[1] - 1
    hole = place(state, slot, nodes[slot, node].block)
    at = hole
    while True:
        at = (at + 1) & mask
        other = places[slot, at] - 1
        if other < 0:
            break
        home = (nodes[slot, other].block * SCATTER >> 7) & mask
        if (at - home) & mask >= (at - hole) & mask:
            places[slot, hole] = other + 1
            hole = at
    places[slot, hole] = 0
    nodes[slot, node].newer = state.slots[slot].free
    state.slots[slot].free = node


@compiled
def evict(state: State, slot: int, tokens: int) -> None:
    """Forgets the oldest idle blocks, then what preempted requests left, until the rest has room in `tokens`."""
    replica, block_tokens = state.slots[slot], state.gateway[0].block_tokens
    if replica.idle > 0:
        room = max((tokens - replica.kept) // block_tokens, 0)
        while replica.idle > room:
            node = replica.idle_oldest
            wake(state, slot, node)
            forget(state, slot, node)
    if replica.kept > max(tokens, 0):
        shrink(state, slot, replica.kept - max(tokens, 0))


@compiled
def shrink(state: State, slot: int, tokens: int) -> None:
    """Takes memory from those that were preempted first, from the end of what they left."""
    replica = state.slots[slot]
    replica.kept -= tokens
    while tokens > 0:
        request = state.requests[replica.kept_oldest]
        taken = min(request.kept, tokens)
        request.kept -= taken
        tokens -= taken
        if request.kept == 0:
            replica.kept_oldest = request.before


@compiled
def full_blocks(state: State, slot: int, request: Record) -> int:
    """Blocks of the prompt that the replica may keep."""
    return int(request.full if state.kinds[state.slots[slot].kind].caches else 0)


@compiled
def hits(state: State, slot: int, request: Record) -> int:
    """Leading blocks of a prompt that are there."""
    full = full_blocks(state, slot, request)
    for number in range(full):
        if state.places[slot, place(state, slot, state.blocks[request.block + number])] == 0:
            return number
    return full


@compiled
def unheld(state: State, slot: int, request: Record) -> int:
    """Blocks of a prompt that no request in the batch holds: what it would add to the memory in use."""
    count = 0
    for number in range(full_blocks(state, slot, request)):
        node = state.places[slot, place(state, slot, state.blocks[request.block + number])] - 1
        if node < 0 or state.nodes[slot, node].holders == 0:
            count += 1
    return count


@compiled
def hold(state: State, slot: int, request: Record) -> int:
    """A request comes into the batch; blocks that nobody held before."""
    replica, nodes, count = state.slots[slot], state.nodes, 0
    for number in range(full_blocks(state, slot, request)):
        block = state.blocks[request.block + number]
        at = place(state, slot, block)
        node = state.places[slot, at] - 1
        if node < 0:
            node = replica.free
            replica.free = nodes[slot, node].newer
            state.places[slot, at] = node + 1
            nodes[slot, node].block = block
            count += 1
        elif nodes[slot, node].holders == 0:
            wake(state, slot, node)
            count += 1
        nodes[slot, node].holders += 1
    return count


@compiled
def release(state: State, slot: int, request: Record, filled: int) -> int:
    """A request leaves the batch; blocks that nobody holds now. Those beyond the first `filled` tokens never were: they are forgotten."""
    nodes, count = state.nodes, 0
    whole = filled // state.gateway[0].block_tokens
    for number in range(full_blocks(state, slot, request) - 1, -1, -1):
        node = state.places[slot, place(state, slot, state.blocks[request.block + number])] - 1
        nodes[slot, node].holders -= 1
        if nodes[slot, node].holders == 0:
            count += 1
            if number < whole:
                lay(state, slot, node)
            else:
                forget(state, slot, node)
    return count


@compiled
def clear(state: State, slot: int) -> None:
    """A replica is new: its memory is empty."""
    replica, last = state.slots[slot], state.nodes.shape[1] - 1
    state.places[slot, :] = 0
    for node in range(last + 1):
        state.nodes[slot, node].newer = node + 1 if node < last else -1
        state.nodes[slot, node].holders = 0
    replica.idle, replica.free, replica.idle_oldest, replica.idle_newest = 0, 0, -1, -1
