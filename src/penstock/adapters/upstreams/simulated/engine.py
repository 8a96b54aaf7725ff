"""Continuous batching as vLLM does it, in discrete steps, and the one task that plays the steps in real time.

Each step gives every decoding sequence one token and spends what is left of the token budget on prefills; it lasts
base + per sequence + prefill tokens / rate. A sequence is admitted when a slot and all the KV memory that it will
ever need are free, so that nothing is preempted.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence as Many

from penstock.adapters.upstreams.simulated.metrics import EngineMetrics
from penstock.adapters.upstreams.simulated.options import Options

BLOCK_TOKENS = 16
BYTES_PER_TOKEN = 4
GROUP_S = 0.02
"""steps shorter than this are played in groups, so that a fast engine does not wake for each of them"""
MOST_LAG_S = 0.5


class PrefixCache:
    """Blocks of prompts seen before, least recently used first, as many as fit into the KV memory."""

    def __init__(self, kv_tokens: int) -> None:
        self._capacity = kv_tokens // BLOCK_TOKENS
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def cached_tokens(self, blocks: Many[int], prompt_tokens: int) -> int:
        """Tokens of the longest known beginning; never the whole prompt, whose last block is always computed."""
        hits = 0
        for block in blocks:
            if block not in self._blocks or (hits + 1) * BLOCK_TOKENS >= prompt_tokens:
                break
            self._blocks.move_to_end(block)
            hits += 1
        return hits * BLOCK_TOKENS

    def remember(self, blocks: Many[int]) -> None:
        for block in blocks:
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._capacity:
            self._blocks.popitem(last=False)


def prefix_blocks(prompt: bytes) -> list[int]:
    """A hash for each whole block of the prompt, chained: equal hashes mean equal beginnings."""
    size = BLOCK_TOKENS * BYTES_PER_TOKEN
    blocks: list[int] = []
    previous = 0
    for start in range(0, len(prompt) - size + 1, size):
        previous = hash((previous, prompt[start : start + size]))
        blocks.append(previous)
    return blocks


class Sequence:
    """One answer being made: how far its prompt is read and how many of its tokens are there. Times in seconds."""

    __slots__ = (
        "admitted_s",
        "arrived_s",
        "blocks",
        "cached_tokens",
        "emitted",
        "finish_reason",
        "first_token_s",
        "job",
        "output_tokens",
        "prefill_left",
        "prompt_tokens",
    )

    def __init__(self, job: "Job", blocks: Many[int], prompt_tokens: int, output_tokens: int, finish_reason: str) -> None:
        self.job = job
        self.blocks = blocks
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.finish_reason = finish_reason
        self.cached_tokens = 0
        self.prefill_left = prompt_tokens
        self.emitted = 0
        self.arrived_s = self.admitted_s = self.first_token_s = 0.0

    @property
    def finished(self) -> bool:
        return self.emitted >= self.output_tokens

    @property
    def kv_tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens


class Job:
    """The sequences of one call. A streamed one is woken at every group of tokens, another at its end."""

    def __init__(self, streamed: bool) -> None:
        self.streamed = streamed
        self.sequences: list[Sequence] = []
        self._moved = asyncio.Event()

    @property
    def finished(self) -> bool:
        return all(sequence.finished for sequence in self.sequences)

    def wake(self) -> None:
        if self.streamed or self.finished:
            self._moved.set()

    async def progress(self) -> None:
        """Returns when there are new tokens (streamed) or all of them."""
        await self._moved.wait()
        self._moved.clear()


class Scheduler:
    """The batch: which sequences wait, which run, and what one step does to them. Knows no clock."""

    def __init__(self, options: Options, metrics: EngineMetrics) -> None:
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.kv_used = 0
        self._options = options
        self._metrics = metrics
        self._prefixes = PrefixCache(options.kv_tokens)

    @property
    def idle(self) -> bool:
        return not self.running and not self.waiting

    def submit(self, sequence: Sequence, now: float) -> None:
        sequence.arrived_s = now
        self.waiting.append(sequence)

    def withdraw(self, sequence: Sequence) -> None:
        """Forget a sequence that nobody wants any more."""
        if sequence in self.waiting:
            self.waiting.remove(sequence)
        elif sequence in self.running:
            self._leave(sequence)
            self._metrics.finished("abort")

    def step(self, now: float) -> tuple[float, list[Sequence]]:
        """One step from `now` on; returns its end and the sequences that got a token."""
        self._admit(now)
        options = self._options
        decoding = [sequence for sequence in self.running if sequence.prefill_left == 0]
        prefilled, prefill_tokens = self._prefill(options.max_batched_tokens - len(decoding))
        cost_ms = options.decode_step_ms + options.decode_step_ms_per_sequence * len(self.running)
        duration = (cost_ms / 1000 + prefill_tokens / options.prefill_tokens_per_second) / options.speed
        end = now + duration
        self._metrics.inter_token.observe(duration, len(decoding))
        for sequence in prefilled:
            self._prefixes.remember(sequence.blocks)
            sequence.first_token_s = end
            self._metrics.first_token(sequence.prompt_tokens, end - sequence.arrived_s)
        moved = decoding + prefilled
        self._metrics.generation_tokens += len(moved)
        for sequence in moved:
            sequence.emitted += 1
            if sequence.finished:
                self._leave(sequence)
                self._finish(sequence, end)
        return end, moved

    def _admit(self, now: float) -> None:
        while self.waiting and len(self.running) < self._options.max_num_seqs:
            sequence = self.waiting[0]
            if self.kv_used + sequence.kv_tokens > self._options.kv_tokens:
                return
            self.waiting.popleft()
            sequence.admitted_s = max(now, sequence.arrived_s)
            sequence.cached_tokens = self._prefixes.cached_tokens(sequence.blocks, sequence.prompt_tokens)
            sequence.prefill_left = max(sequence.prompt_tokens - sequence.cached_tokens, 1)
            self._metrics.looked_up(sequence.prompt_tokens, sequence.cached_tokens)
            self.kv_used += sequence.kv_tokens
            self.running.append(sequence)

    def _prefill(self, budget: int) -> tuple[list[Sequence], int]:
        """Reads prompts, oldest first, within the budget (at least one token a step, so that none starves)."""
        completed: list[Sequence] = []
        left = budget = max(budget, 1)
        for sequence in self.running:
            if sequence.prefill_left and left:
                part = min(sequence.prefill_left, left)
                sequence.prefill_left -= part
                left -= part
                if sequence.prefill_left == 0:
                    completed.append(sequence)
        return completed, budget - left

    def _leave(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.kv_used -= sequence.kv_tokens

    def _finish(self, sequence: Sequence, end: float) -> None:
        self._metrics.finished(sequence.finish_reason)
        self._metrics.latency.observe(end - sequence.arrived_s)
        self._metrics.queue_time.observe(sequence.admitted_s - sequence.arrived_s)
        self._metrics.prefill_time.observe(max(sequence.first_token_s - sequence.admitted_s, 0))
        self._metrics.decode_time.observe(end - sequence.first_token_s)


class Engine:
    """The scheduler in real time: `run` is the only task that moves it."""

    def __init__(self, options: Options) -> None:
        self.metrics = EngineMetrics(options.served_models[0])
        self.scheduler = Scheduler(options, self.metrics)
        self._options = options
        self._arrival = asyncio.Event()

    def submit(self, job: Job) -> None:
        now = asyncio.get_running_loop().time()
        for sequence in job.sequences:
            self.scheduler.submit(sequence, now)
        self._arrival.set()

    def withdraw(self, job: Job) -> None:
        for sequence in job.sequences:
            if not sequence.finished:
                self.scheduler.withdraw(sequence)

    async def run(self) -> None:
        """Plays steps until cancelled; sleeps while there is nothing to do."""
        loop = asyncio.get_running_loop()
        clock = loop.time()
        while True:
            if self.scheduler.idle:
                self._arrival.clear()
                await self._arrival.wait()
                clock = loop.time()
            clock = max(clock, loop.time() - MOST_LAG_S)
            clock, moved = self._play(clock)
            await asyncio.sleep(max(clock - loop.time(), 0))
            for job in moved:
                job.wake()
            await asyncio.sleep(0)  # let them see this group before the next one is played

    def _play(self, clock: float) -> tuple[float, set[Job]]:
        """A group of steps; returns its end and whom to wake then."""
        end = clock + GROUP_S
        moved: set[Job] = set()
        while clock < end and not self.scheduler.idle:
            clock, sequences = self.scheduler.step(clock)
            moved.update([sequence.job for sequence in sequences])
        return clock, moved

    def render_metrics(self) -> bytes:
        scheduler = self.scheduler
        usage = scheduler.kv_used / self._options.kv_tokens
        return self.metrics.render(len(scheduler.running), len(scheduler.waiting), usage)
