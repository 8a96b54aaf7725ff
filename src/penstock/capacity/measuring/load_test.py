"""A load test: finds the length of prompts, climbs a ladder of loads, and says why it stopped."""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import chain, count

import msgspec

from penstock.capacity.measuring.endpoint import Endpoint, Place
from penstock.capacity.measuring.loops import Load, Loaded
from penstock.capacity.measuring.points import Point, point
from penstock.capacity.measuring.prompts import Prompts, Scale, scale_of
from penstock.capacity.measuring.sample import MeasureError, Sample
from penstock.capacity.measuring.stopping import FAILING, Limits, Meter, Reason, after
from penstock.wire.client import Timeouts

LADDER = (1, 2, 4, 8, 16, 32, 64)
FIRST_WORDS = (8, 48)
"""lengths of the first two prompts, from which the weight of a word is learned"""
CORRECTIONS = 2
"""prompts of the wanted length, from which it is corrected"""
OFF = 0.05
"""share by which lengths may miss before it is worth a word"""
AHEAD_WORDS = 10_000_000
"""of prompts that are written before a load begins: some 60 MB"""
CONNECT_S = 10.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure. Either `concurrencies` or `rates_per_minute`, lightest first."""

    input_tokens: int = 512
    output_tokens: int = 128
    concurrencies: tuple[int, ...] = LADDER
    rates_per_minute: tuple[float, ...] = ()
    waves: int = 5
    """requests of a closed loop for each one in flight, after a first one that is warm-up"""
    least_requests: int = 10
    """of a closed loop, however few are in flight"""
    least_s: float = 5.0
    """of a closed loop, however soon its requests are done: what is shorter is noise"""
    load_s: float = 60.0
    """the longest that one load runs, but for the answers that it has begun"""
    unique: bool = True
    """each prompt is new, so that no prefix cache helps"""
    timeout_s: float = 120.0
    """to the first token, and between two pieces of an answer"""
    seed: int = 0


class Progress(msgspec.Struct, frozen=True):
    """Where a test stands."""

    load: str
    number: int
    loads: int
    done: int
    """requests of this load that ended"""
    planned: int
    failed: int
    elapsed_s: float


class LoadTest(msgspec.Struct, frozen=True, kw_only=True):
    """What a test found."""

    url: str
    model: str
    """as the endpoint knows it"""
    started: datetime
    points: tuple[Point, ...]
    stopped: Reason
    seconds: float
    requests: int
    notes: tuple[str, ...]
    """what the endpoint does not do, and what that costs in certainty"""


async def load_test(
    where: Place,
    model: str | None,
    api_key: str | None,
    plan: Plan,
    limits: Limits,
    progress: Callable[[Progress], None],
    found: Callable[[Point], None],
) -> LoadTest:
    """Measures an endpoint. `model` may be left out where it serves one only; `found` hears of each point when it is there.

    Raises `MeasureError` when the endpoint gives no answer at all.
    """
    started = datetime.now(UTC)
    endpoint = Endpoint(where, model or "", api_key, Timeouts(connect=CONNECT_S, first=plan.timeout_s, idle=plan.timeout_s))
    try:
        if model is None:
            endpoint.model = _only(await endpoint.names(), where)
        return await _Test(endpoint, plan, limits, progress, found).run(started)
    finally:
        endpoint.close()
        await asyncio.sleep(0)  # its connections end in the next turn of the loop


class _Test:
    def __init__(
        self, endpoint: Endpoint, plan: Plan, limits: Limits, progress: Callable[[Progress], None], found: Callable[[Point], None]
    ) -> None:
        self._endpoint, self._plan, self._limits = endpoint, plan, limits
        self._progress, self._found = progress, found
        self._prompts = Prompts(plan.seed, plan.unique)
        self._meter = Meter(limits, plan.output_tokens)
        self._start_s = asyncio.get_running_loop().time()
        self._notes: list[str] = []
        self._scale = Scale()
        self._loads = len(plan.rates_per_minute or plan.concurrencies)

    async def run(self, started: datetime) -> LoadTest:
        words = await self._words_in_time()
        points: list[Point] = []
        stopped: Reason = "ladder climbed"
        for number in range(self._loads):
            loaded, new = await self._load(number, words)
            if new is not None:
                points.append(new)
                self._found(new)
            elif loaded.reason is None and not points:
                failure = next(sample.failure for sample in loaded.samples if sample.failure is not None)
                raise MeasureError(f"no request was answered: {failure.text}", "look into the endpoint's log")
            judged = "errors" if new is None else after(points, self._limits)
            reason = judged if judged in FAILING else loaded.reason or judged
            if reason is not None:
                stopped = reason
                break
        if not points:
            raise MeasureError(f"not one answer was complete before the test ended ({stopped})", "allow more of it, or ask for less")
        self._note(points)
        seconds = asyncio.get_running_loop().time() - self._start_s
        return LoadTest(
            url=self._endpoint.place.base_url,
            model=self._endpoint.model,
            started=started,
            points=tuple(points),
            stopped=stopped,
            seconds=seconds,
            requests=self._meter.sent,
            notes=tuple(self._notes),
        )

    async def _load(self, number: int, words: int) -> tuple[Loaded, Point | None]:
        plan = self._plan
        rate = plan.rates_per_minute[number] if plan.rates_per_minute else None
        concurrency = None if rate is not None else plan.concurrencies[number]
        if rate is not None:
            planned = max(1, math.floor(rate * plan.load_s / 60))
        else:
            assert concurrency is not None
            planned = max(plan.least_requests, plan.waves * concurrency) + concurrency
        ahead = min(planned, max(16, AHEAD_WORDS // words))  # writing takes time in which no answer can be stamped
        prompts = chain([self._prompts.make(words) for _ in range(ahead)], (self._prompts.make(words) for _ in count()))
        label = f"{concurrency} at once" if concurrency is not None else f"{rate:g} a minute"
        told = partial(self._told, label, number, planned, [0, 0])
        await self._endpoint.connect(min(concurrency or 1, planned))
        ask = partial(self._ask, output_tokens=plan.output_tokens)
        load = Load(ask, self._meter, plan.input_tokens, self._start_s + self._limits.duration_s, told)
        if rate is not None:
            loaded = await load.open(prompts, planned, rate)
        else:
            assert concurrency is not None
            loaded = await load.closed(prompts, concurrency, planned - concurrency, plan.least_s, plan.load_s)
        return loaded, point(loaded.samples, loaded.window, concurrency=concurrency, rate_per_minute=rate, lags_s=loaded.lags_s)

    async def _ask(self, prompt: str, due_s: float | None, output_tokens: int) -> Sample:
        return await self._endpoint.ask(prompt, output_tokens, due_s)

    def _told(self, label: str, number: int, planned: int, counted: list[int], sample: Sample) -> None:
        counted[0] += 1
        counted[1] += sample.failure is not None
        elapsed_s = asyncio.get_running_loop().time() - self._start_s
        self._progress(Progress(label, number + 1, self._loads, counted[0], max(planned, counted[0]), counted[1], elapsed_s))

    async def _words_in_time(self) -> int:
        try:
            async with asyncio.timeout(self._limits.duration_s):
                return await self._words()
        except TimeoutError:
            raise MeasureError("the test ended before it began (duration)", "allow it more time: its first answers are slow") from None

    async def _words(self) -> int:
        """How many words make a prompt of the wanted length. The first answers also wake the engine."""
        seen: list[tuple[int, int]] = []
        for words in FIRST_WORDS:
            sample = await self._first(words, min(8, self._plan.output_tokens))
            seen.append((words, sample.input_tokens))
            if sample.estimated:
                self._notes.append("it tells no usage: input tokens are estimated by bytes, output tokens by pieces of the stream")
                break
        for _ in range(CORRECTIONS):
            self._scale = _fitted(seen)
            words = self._scale.words(self._plan.input_tokens)
            sample = await self._first(words, self._plan.output_tokens)
            if sample.estimated:
                return words
            seen.append((words, sample.input_tokens))
        self._scale = _fitted(seen)
        return self._scale.words(self._plan.input_tokens)

    async def _first(self, words: int, output_tokens: int) -> Sample:
        """A request before the loads, counted as they are."""
        entered = min(2 * words, self._plan.input_tokens)
        reason = self._meter.admit(entered)
        if reason is not None:
            raise MeasureError(f"the test ended before it began ({reason})", "allow more, or ask for shorter prompts and answers")
        sample = await self._endpoint.settle(self._prompts.make(words), output_tokens)
        self._meter.settle(entered, sample)
        return sample

    def _note(self, points: list[Point]) -> None:
        if any(each.ttft_ms is None for each in points):
            self._notes.append("it does not stream: the time to the first token is unknown")
        wanted = self._plan.output_tokens
        if not all(each.estimated for each in points) and any(abs(each.output_tokens - wanted) > OFF * wanted for each in points):
            self._notes.append(f"answers end on their own, not at {wanted:,} tokens: loads differ in output length")
        around = max(0.0, self._scale.around)  # the template, which all calls share
        if any(each.burst for each in points):
            self._notes.append("answers take so long that a load saw one wave of them: the times to the first token are those of a burst")
        if self._plan.unique and any((each.cached_share - OFF) * each.input_tokens > around for each in points):
            self._notes.append("its prefix cache found parts of prompts that were new: time to the first token is flattered")
        if any(each.tpot_ms is not None and each.lag_ms > each.tpot_ms.p50 for each in points):
            self._notes.append("this machine was too busy to measure: its own delays are longer than a token takes")


def _fitted(seen: list[tuple[int, int]]) -> Scale:
    try:
        return scale_of(seen)
    except ValueError:
        return Scale()


def _only(names: list[str], where: Place) -> str:
    if len(names) == 1:
        return names[0]
    served = f"serves {len(names)} models" if names else "names no model"
    raise MeasureError(f"{where.base_url} {served}", f"name one by --upstream-model: {', '.join(names[:10])}" if names else "name it")
