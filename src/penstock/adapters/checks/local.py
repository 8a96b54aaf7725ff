"""The checks of one worker: in a few child processes, started when they are needed, and at addresses of users."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence

import msgspec

from penstock.adapters.checks.child import LENGTH_BYTES, Done, Job
from penstock.adapters.checks.posting import Posts
from penstock.domain.routing.signals.trials import Passed, Trial
from penstock.ports.checks import CheckError

CHILD: Sequence[str] = (sys.executable, "-m", "penstock.adapters.checks.child")
MOST_CHILDREN = 4
START_S = 10.0
"""for a new process to be ready, beside the time of the check"""
_FIRST = Trial("json_schema", "1", schema={})
"""what a new process is asked first: it has imported then what most checks need"""


class LocalChecks:
    """A `CheckRunner`."""

    def __init__(self, most: int = MOST_CHILDREN) -> None:
        """`most`: processes at once; further checks wait, within their time."""
        self._most, self._places = most, asyncio.Semaphore(most)
        self._idle: list[Process] = []
        self._busy: set[Process] = set()
        self._posts = Posts()
        self._decoder = msgspec.msgpack.Decoder(Done)

    async def attempt(self, trial: Trial, timeout_s: float) -> Passed:
        """See `CheckRunner`."""
        if trial.kind == "http":
            return await self._posts.ask(trial, timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                await self._places.acquire()
        except TimeoutError:
            raise CheckError(f"all {self._most} processes for checks were busy", hangs=True) from None
        try:
            return await self._run(trial, timeout_s)
        finally:
            self._places.release()

    async def close(self) -> None:
        """See `CheckRunner`."""
        self._posts.close()
        for child in [*self._idle, *self._busy]:
            await _end(child)
        self._idle.clear()

    async def _run(self, trial: Trial, timeout_s: float) -> Passed:
        child = await self._child()
        self._busy.add(child)
        kept = False
        try:
            async with asyncio.timeout(timeout_s):
                done = self._decoder.decode(await _exchange(child, msgspec.msgpack.encode(Job(trial, float(timeout_s)))))
            kept = True
        except TimeoutError:
            raise CheckError(f"it took longer than {timeout_s:g} s", hangs=True) from None
        except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError):
            raise CheckError("its process ended") from None
        finally:
            self._busy.discard(child)
            if kept:
                self._idle.append(child)
            else:
                await asyncio.shield(_end(child))
        if done.passed is None:
            raise CheckError(done.failed or "it said nothing")
        return done.passed

    async def _child(self) -> Process:
        """An idle process, or a new one that has answered once. Raises `CheckError`."""
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
        try:
            child = await asyncio.create_subprocess_exec(*CHILD, stdin=PIPE, stdout=PIPE)
        except OSError as error:
            raise CheckError(f"no process could be started for it: {error}") from None
        try:
            async with asyncio.timeout(START_S):
                await _exchange(child, msgspec.msgpack.encode(Job(_FIRST, START_S)))
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            await _end(child)
            raise CheckError("its process did not start") from None
        except asyncio.CancelledError:
            await asyncio.shield(_end(child))
            raise
        return child


async def _exchange(child: Process, data: bytes) -> bytes:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    await child.stdin.drain()
    head = await child.stdout.readexactly(LENGTH_BYTES)
    return await child.stdout.readexactly(int.from_bytes(head, "big"))


async def _end(child: Process) -> None:
    if child.returncode is None:
        try:
            child.send_signal(signal.SIGKILL)
        except ProcessLookupError:
            return
    if child.stdin is not None:
        child.stdin.close()
    await child.wait()
