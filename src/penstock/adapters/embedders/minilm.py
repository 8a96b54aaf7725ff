"""An embedder in this process: a thread of its own computes, in batches that grow by themselves under load.

Texts that come while a batch is computed form the next one: a lone text starts at once, and nobody waits for a window to pass.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from penstock.adapters.embedders.model import Model
from penstock.adapters.embedders.recent import KEPT, Recent
from penstock.ports.embedder import Embedded, EmbedderError, Vectors

MOST_TEXTS: Final = 64
MOST_CHARACTERS: Final = 4_096
"""of a batch, whose texts count for at most what their tokens take: about 1,000 tokens, a tenth of a second"""
_CHARACTERS_PER_TOKEN: Final = 4
_CLOSE_S: Final = 5.0


class _Job(msgspec.Struct, eq=False):
    """A text that somebody waits for."""

    text: str
    waiter: asyncio.Future[Vectors]
    loop: asyncio.AbstractEventLoop


class OrtEmbedder:
    """An `Embedder` over the BERT in a directory."""

    def __init__(self, folder: Path, threads: int = 1, kept: int = KEPT) -> None:
        """Reads the weights and starts its thread; `kept`: vectors that are remembered. Raises `EmbedderError`."""
        self._folder, self._threads = folder, threads
        opened: Future[Model] = Future()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="embedder", daemon=True)
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._closed = False
        self._thread.start()
        model = opened.result()
        self.stamp = model.bert.stamp
        self.dimensions: int = model.bert.hidden
        self._longest = model.bert.most_tokens * _CHARACTERS_PER_TOKEN
        self._recent = Recent(kept)

    async def embed(self, texts: Sequence[str]) -> Embedded:
        """See `Embedder`."""
        found = {text: self._recent.get(text) for text in texts}
        loop = asyncio.get_running_loop()
        jobs = [_Job(text, loop.create_future(), loop) for text, vector in found.items() if vector is None]
        self._queue(jobs)
        try:
            made = await asyncio.gather(*(job.waiter for job in jobs))
        finally:
            for job in jobs:  # one failed, or the caller gave up: nobody waits for the others
                job.waiter.cancel()
        for job, vector in zip(jobs, made, strict=True):
            found[job.text] = vector
            self._recent.put(job.text, vector)
        rows = [found[text] for text in texts]
        return Embedded(np.array(rows, np.float32).reshape(len(rows), self.dimensions))

    async def close(self) -> None:
        """Who still waits gets an `EmbedderError`."""
        with self._wake:
            self._closed = True
            left, self._jobs = list(self._jobs), deque()
            self._wake.notify()
        _fail(left, EmbedderError("the embedder was closed"))
        await asyncio.to_thread(self._thread.join, _CLOSE_S)

    def _queue(self, jobs: list[_Job]) -> None:
        with self._wake:
            if self._closed:
                raise EmbedderError("the embedder was closed")
            self._jobs.extend(jobs)
            self._wake.notify()

    def _run(self, opened: "Future[Model]") -> None:
        """The thread: opens the model itself, for ONNX Runtime changes how the thread that opens it rounds."""
        try:
            model = Model(self._folder, self._threads)
        except BaseException as problem:
            opened.set_exception(problem)
            return
        opened.set_result(model)
        self._compute(model)

    def _compute(self, opened: Model) -> None:
        """Batch after batch. After a failure the next batch begins with the model loaded anew."""
        model: Model | None = opened
        while batch := self._batch():
            try:
                model = model or self._again()
                _answer(model, batch)
            except EmbedderError as problem:
                model = None
                _fail(batch, problem)
            except Exception as problem:
                model = None
                _fail(batch, EmbedderError(f"the embedder failed: {problem!r}"))

    def _again(self) -> Model:
        model = Model(self._folder, self._threads)
        if model.bert.stamp != self.stamp:
            raise EmbedderError(f"{self._folder} holds another model than at the start", "Restart Penstock to use it")
        return model

    def _batch(self) -> list[_Job]:
        """What waits, as much as one batch takes; sleeps until there is something. Empty: closed."""
        with self._wake:
            while not self._closed:
                batch: list[_Job] = []
                characters = 0
                while self._jobs and len(batch) < MOST_TEXTS and characters < MOST_CHARACTERS:
                    job = self._jobs.popleft()
                    if not job.waiter.cancelled():
                        batch.append(job)
                        characters += min(len(job.text), self._longest)
                if batch:
                    return batch
                self._wake.wait()
        return []


def _answer(model: Model, batch: Sequence[_Job]) -> None:
    waiting: dict[str, list[_Job]] = {}
    for job in batch:
        waiting.setdefault(job.text, []).append(job)
    texts = list(waiting)
    for places, vectors in model.vectors(texts):
        rows = [row.copy() for row in vectors]  # one that is kept must not keep its whole batch
        _tell([(job, row) for place, row in zip(places, rows, strict=True) for job in waiting[texts[place]]])


def _fail(jobs: Sequence[_Job], problem: EmbedderError) -> None:
    _tell([(job, problem) for job in jobs])


def _tell(answers: Sequence[tuple[_Job, Vectors | EmbedderError]]) -> None:
    """Wakes who waits, in their event loops, once for all of one loop. Those of a loop that is closed are gone."""
    for loop in {job.loop for job, _ in answers}:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, [(job.waiter, answer) for job, answer in answers if job.loop is loop])


def _settle(answers: Sequence[tuple[asyncio.Future[Vectors], Vectors | EmbedderError]]) -> None:
    for waiter, answer in answers:
        if waiter.done():
            continue
        if isinstance(answer, EmbedderError):
            waiter.set_exception(EmbedderError(str(answer), answer.hint))
        else:
            waiter.set_result(answer)
