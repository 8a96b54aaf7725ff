"""The oracle: the same fleet, played token by token in plain Python, with nothing in common with the kernel but its description.

Every step of every replica is a step here; memory is counted anew from the batch each time; the prefix cache is an ordered dictionary.
"""

import math
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from penstock.domain.simulation.replica import ReplicaKind
from penstock.domain.simulation.trace import Trace


@dataclass(eq=False)
class Asked:
    number: int
    arrival_s: float
    prompt: int
    output: int
    blocks: list[int]
    emitted: int = 0
    computed: int = 0
    reading: bool = True
    first_s: float = math.nan
    finish_s: float = math.nan
    reused: int = 0
    preemptions: int = 0
    refused: bool = False

    @property
    def context(self) -> int:
        return self.prompt + self.emitted


@dataclass(eq=False)
class Played:
    kind: ReplicaKind
    block_tokens: int
    batch: list[Asked] = field(default_factory=list)
    queue: deque[Asked] = field(default_factory=deque)
    idle: "OrderedDict[int, None]" = field(default_factory=OrderedDict)
    left: "OrderedDict[Asked, int]" = field(default_factory=OrderedDict)
    """tokens beyond their blocks that preempted requests left, the first preempted first"""
    end_s: float = math.inf
    """of the step that runs"""
    chunks: dict[int, int] = field(default_factory=dict)
    steps: int = 0

    def memory(self, more: tuple[Asked, ...] = ()) -> int:
        batch = [*self.batch, *more]
        private = sum(asked.context - self.block_tokens * len(asked.blocks) for asked in batch)
        return private + self.block_tokens * len({block for asked in batch for block in asked.blocks})

    def held(self) -> set[int]:
        return {block for asked in self.batch for block in asked.blocks}

    def there(self, asked: Asked) -> int:
        held, count = self.held(), 0
        for block in asked.blocks:
            if block not in held and block not in self.idle:
                break
            count += 1
        return count

    def evict(self) -> None:
        memory = self.memory()
        while self.idle and memory + self.block_tokens * len(self.idle) + sum(self.left.values()) > self.kind.kv_tokens:
            self.idle.popitem(last=False)
        while memory + sum(self.left.values()) > self.kind.kv_tokens:
            oldest = next(asked for asked, tokens in self.left.items() if tokens)
            self.left[oldest] -= 1

    def leave(self, asked: Asked, filled: int) -> None:
        self.batch.remove(asked)
        held = self.held()
        for number in reversed(range(len(asked.blocks))):
            if asked.blocks[number] not in held and number < filled // self.block_tokens:
                self.idle[asked.blocks[number]] = None

    def begin(self, now_s: float) -> None:
        preempted = False
        while self.memory() > self.kind.kv_tokens:
            asked = self.batch[-1]
            filled = asked.computed if asked.reading else asked.context - 1
            self.leave(asked, filled)
            if self.kind.prefix_cache:
                self.left[asked] = max(filled - self.block_tokens * len(asked.blocks), 0)
            asked.reading, asked.computed = True, 0
            asked.preemptions += 1
            self.queue.appendleft(asked)
            preempted = True
        decoding = [asked for asked in self.batch if not asked.reading]
        left = self.kind.step_tokens - len(decoding)
        self.chunks = {}
        for asked in self.batch:
            if asked.reading and left:
                left -= self.read(asked, left)
        while self.queue and left and len(self.batch) < self.kind.max_sequences and not preempted:
            asked = self.queue[0]
            if self.memory((asked,)) > self.kind.kv_tokens:
                break
            self.queue.popleft()
            there, own = self.there(asked), self.left.pop(asked, 0)
            own = own if there == len(asked.blocks) else 0
            asked.reading, asked.computed = True, min(there * self.block_tokens + own, asked.context - 1)
            asked.reused += 0 if asked.preemptions else asked.computed
            self.batch.append(asked)
            for block in asked.blocks:
                self.idle.pop(block, None)
            self.evict()
            left -= self.read(asked, left)
        self.evict()
        if not self.batch:
            self.end_s = math.inf
            return
        times = self.kind.times
        took = float(times.decode_s[len(decoding)]) + times.context_s * sum(asked.context for asked in decoding)
        for asked in self.batch:
            for token in range(asked.computed, asked.computed + self.chunks.get(asked.number, 0)):
                took += times.prefill_s + times.attention_s * token
        self.end_s = now_s + took
        self.steps += 1

    def read(self, asked: Asked, left: int) -> int:
        self.chunks[asked.number] = min(asked.context - asked.computed, left)
        return self.chunks[asked.number]

    def finish(self) -> None:
        done: list[Asked] = []
        for asked in self.batch:
            if asked.reading:
                asked.computed += self.chunks.get(asked.number, 0)
                if asked.computed < asked.context:
                    continue
                asked.reading = False
                if not asked.emitted:
                    asked.first_s = self.end_s
                asked.emitted += 1
                if asked.emitted == asked.output:
                    done.append(asked)
            else:
                asked.emitted += 1
                if asked.emitted == asked.output:
                    done.append(asked)
        decoded = [asked for asked in done if asked.number not in self.chunks]
        for asked in [*sorted(decoded, key=lambda asked: asked.number), *(asked for asked in done if asked.number in self.chunks)]:
            asked.finish_s = self.end_s
            self.leave(asked, asked.context)
        self.begin(self.end_s)


class Oracle:
    """Equal replicas, ready from the begin."""

    def __init__(self, trace: Trace, kind: ReplicaKind, replicas: int, routing: str) -> None:
        self.kind, self.routing, self.turn = kind, routing, 0
        self.replicas = [Played(kind, trace.block_tokens) for _ in range(replicas)]
        self.asked = []
        self.nearest_s = math.inf
        """between a request and the end of a step: where it is next to nothing, rounding decides"""
        for number in range(trace.requests):
            prompt = int(trace.input_tokens[number])
            blocks: list[int] = []
            if len(trace.block_start) and kind.prefix_cache:
                blocks = trace.blocks[trace.block_start[number] : trace.block_start[number + 1]].tolist()[: prompt // trace.block_tokens]
            self.asked.append(Asked(number, float(trace.arrival_s[number]), prompt, int(trace.output_tokens[number]), blocks))

    def play(self) -> list[Asked]:
        for asked in self.asked:
            self.work(asked.arrival_s)
            if asked.prompt + asked.output > min(self.kind.kv_tokens, self.kind.max_context or self.kind.kv_tokens):
                asked.refused = True
                continue
            replica = self.choose(asked)
            replica.queue.append(asked)
            if replica.end_s == math.inf:
                replica.end_s, replica.chunks = asked.arrival_s, {}
        self.work(math.inf)
        return self.asked

    def work(self, until_s: float) -> None:
        for replica in self.replicas:
            while replica.end_s < until_s:
                replica.finish()
            if replica.batch:
                self.nearest_s = min(self.nearest_s, abs(replica.end_s - until_s))

    def choose(self, asked: Asked) -> Played:
        if self.routing == "round_robin":
            self.turn += 1
            return self.replicas[(self.turn - 1) % len(self.replicas)]
        if self.routing == "least_requests":
            return min(self.replicas, key=lambda replica: len(replica.batch) + len(replica.queue))
        loads = {
            id(replica): sum(each.prompt + each.output for each in [*replica.batch, *replica.queue, asked]) for replica in self.replicas
        }
        idlest = min(self.replicas, key=lambda replica: loads[id(replica)])
        if self.routing == "least_tokens":
            return idlest
        allowed = 2 * loads[id(idlest)] + 4 * self.kind.step_tokens
        free = [replica for replica in self.replicas if loads[id(replica)] <= allowed]
        best = max(free, key=lambda replica: (replica.there(asked), -loads[id(replica)]))
        return best if best.there(asked) else idlest
