"""The two kinds of load: a fixed number of requests in flight, and a fixed number of requests a minute.

A closed loop starts its requests all at once and replaces each when it is done, as `vllm bench serve --max-concurrency` does; its first
wave is warm-up. An open loop sends on time whatever became of the requests before; latencies count from when a request was due.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import msgspec

from penstock.capacity.measuring.points import Window
from penstock.capacity.measuring.sample import Failure, Sample
from penstock.capacity.measuring.stopping import Meter, Reason

Ask = Callable[[str, float | None], Awaitable[Sample]]
"""sends a prompt that was due at an instant, or now"""
LAG_EVERY_S = 0.05
AFTER_ERROR_S = 0.2
LEAST_BACKOFF_S, LONGEST_BACKOFF_S = 0.5, 30.0
MOST_TRIES = 5
MOST_IN_FLIGHT = 2048
HOPELESS = 20
"""failures in a row, without one answer, after which a load is given up"""


class Loaded(msgspec.Struct):
    """One load's requests."""

    samples: list[Sample]
    window: Window
    lags_s: list[float]
    reason: Reason | None = None
    """why the test must end here"""


class Load:
    """Runs one load. `told`: hears of each request that ended. `until_s`: the instant at which the whole test ends."""

    def __init__(self, ask: Ask, meter: Meter, input_tokens: int, until_s: float, told: Callable[[Sample], None]) -> None:
        self._ask = ask
        self._meter = meter
        self._input_tokens = input_tokens
        self._until_s = until_s
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._samples: list[Sample] = []
        self._lags_s: list[float] = []
        self._reason: Reason | None = None
        self._closed_s: float | None = None
        self._in_flight = 0

    async def closed(self, prompts: Iterator[str], concurrency: int, requests: int, least_s: float, most_s: float) -> Loaded:
        """So many requests in flight until, after the first wave, that many have begun and the least time is over, or the most."""
        start_s = self._loop.time()
        begun = -concurrency

        async def work() -> None:
            nonlocal begun
            warm_up = True
            while self._closed_s is None and not self._hopeless:
                elapsed_s = self._loop.time() - start_s
                if elapsed_s >= most_s or (begun >= requests and elapsed_s >= least_s):
                    break
                begun += 1
                if not await self._one(next(prompts), None, warm_up):
                    break
                warm_up = False
            self._close()

        return await self._run([work() for _ in range(concurrency)], start_s)

    async def open(self, prompts: Iterator[str], requests: int, per_minute: float) -> Loaded:
        """So many requests, one each 60 / `per_minute` seconds."""
        start_s = self._loop.time()
        sent: set[asyncio.Task[bool]] = set()

        async def send() -> None:
            try:
                for number in range(requests):
                    due_s = start_s + number * 60 / per_minute
                    await asyncio.sleep(max(0.0, due_s - self._loop.time()))
                    if self._reason is not None or self._hopeless:
                        break
                    if self._in_flight >= MOST_IN_FLIGHT:
                        self._reason = "overloaded"
                        break
                    task = asyncio.create_task(self._one(next(prompts), due_s))
                    sent.add(task)
                    task.add_done_callback(sent.discard)
                self._close()
                await asyncio.gather(*sent)
            finally:
                for task in sent:
                    task.cancel()

        return await self._run([send()], start_s)

    async def _run(self, workers: "list[Awaitable[None]]", start_s: float) -> Loaded:
        watch = asyncio.create_task(self._watch_lag())
        try:
            async with asyncio.timeout_at(self._until_s):
                await asyncio.gather(*workers)
        except TimeoutError:
            self._reason = self._reason or "duration"
        finally:
            watch.cancel()
        cut = self._reason is not None
        end_s = min(self._closed_s or self._until_s, self._loop.time())
        return Loaded(self._samples, Window(start_s, end_s, cut), self._lags_s, self._reason)

    def _close(self) -> None:
        """The load is no longer whole: from here on nothing counts as throughput."""
        if self._closed_s is None:
            self._closed_s = self._loop.time()

    @property
    def _hopeless(self) -> bool:
        return len(self._samples) >= HOPELESS and all(sample.failure is not None for sample in self._samples)

    async def _one(self, prompt: str, due_s: float | None, warm_up: bool = False) -> bool:
        """One request to its end, tried again while it is refused for the rate. False: none may be sent any more."""
        reason = self._meter.admit(self._input_tokens)
        if reason is not None:
            self._reason = reason
            return False
        sample: Sample | None = None
        self._in_flight += 1
        try:
            sample = msgspec.structs.replace(await self._let_in(prompt, due_s), warm_up=warm_up)
        finally:
            self._in_flight -= 1
            self._meter.settle(self._input_tokens, sample)
        self._samples.append(sample)
        self._told(sample)
        if sample.failure is not None:
            await asyncio.sleep(AFTER_ERROR_S)
        return True

    async def _let_in(self, prompt: str, due_s: float | None) -> Sample:
        throttled = 0
        while True:
            sample = await self._ask(prompt, due_s)
            if not _rate_limited(sample.failure):
                return msgspec.structs.replace(sample, throttled=throttled)
            throttled += 1
            if throttled == MOST_TRIES:
                return msgspec.structs.replace(sample, throttled=throttled)
            assert sample.failure is not None
            asked_s = sample.failure.retry_after_s
            await asyncio.sleep(min(LONGEST_BACKOFF_S, LEAST_BACKOFF_S * 2 ** (throttled - 1) if asked_s is None else asked_s))
            due_s = None

    async def _watch_lag(self) -> None:
        while True:
            before_s = self._loop.time()
            await asyncio.sleep(LAG_EVERY_S)
            self._lags_s.append(max(0.0, self._loop.time() - before_s - LAG_EVERY_S))


def _rate_limited(failure: Failure | None) -> bool:
    return failure is not None and failure.kind == "rate_limited"
