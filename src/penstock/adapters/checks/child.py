"""A process that runs checks, one at a time, for the worker that started it: `python -m penstock.adapters.checks.child`.

Frames go both ways: four bytes of length, then MessagePack. What a user's callable prints goes to stderr. A check beyond its time ends the
process even while it holds the interpreter's lock, as a pattern does that backtracks for ever.
"""

import os
import signal
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, Final

import msgspec

from penstock.domain.routing.signals.trials import Passed, Trial, TrialError, attempt

LENGTH_BYTES: Final = 4
GRACE_S: Final = 1.0
"""beyond its time, after which a process ends itself should its worker be gone"""
_SHOWN = 200


class Job(msgspec.Struct, frozen=True):
    """What the worker sends."""

    trial: Trial
    timeout_s: float


class Done(msgspec.Struct, frozen=True):
    """What it gets back; `failed`: why the check itself failed."""

    passed: Passed | None = None
    failed: str | None = None


def main() -> None:
    """Answers jobs until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the worker decides when this ends
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # what callables read are no jobs
    os.dup2(2, 1)  # and what they print is no answer
    decoder = msgspec.msgpack.Decoder(Job)
    while (frame := _frame(jobs)) is not None:
        job = decoder.decode(frame)
        signal.setitimer(signal.ITIMER_REAL, job.timeout_s + GRACE_S)
        done = run(job.trial)
        signal.setitimer(signal.ITIMER_REAL, 0)
        data = msgspec.msgpack.encode(done)
        answers.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
        answers.flush()


def run(trial: Trial) -> Done:
    """One check; whatever it raises is told."""
    try:
        return Done(_call(trial) if trial.kind == "python" else attempt(trial))
    except TrialError as error:
        return Done(failed=f"{error}{f'; {error.hint}' if error.hint else ''}")
    except (Exception, SystemExit) as error:  # of code that is not ours
        return Done(failed=f"{type(error).__name__}: {error}"[:_SHOWN])


def _call(trial: Trial) -> Passed:
    """Asks a user's callable. Raises what it raises, `TrialError` for one that is not there or says neither a bool nor a probability."""
    said = _callable(trial.setting)(trial.question, trial.answer)
    if isinstance(said, bool):
        return Passed(said)
    if isinstance(said, int | float) and 0 <= said <= 1:
        return Passed(True, score=float(said))
    raise TrialError(f"`{trial.setting}` said {said!r:.60}", "return a bool, or a probability from 0 to 1")


def _callable(name: str) -> Callable[[str, str], Any]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError as error:
        raise TrialError(f"`{module}` cannot be imported: {error}", "install it where the gateway runs") from None
    if not callable(found):
        raise TrialError(f"there is no callable `{attribute}` in `{module}`")
    return found  # type: ignore[no-any-return]


def _frame(source: BinaryIO) -> bytes | None:
    head = source.read(LENGTH_BYTES)
    return source.read(int.from_bytes(head, "big")) if len(head) == LENGTH_BYTES else None


if __name__ == "__main__":
    main()
