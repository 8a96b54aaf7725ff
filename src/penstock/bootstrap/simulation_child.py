"""A simulation in a process of its own, so that the controller's work goes on: `python -m penstock.bootstrap.simulation_child`.

The parent writes the settings and the wish to its input; it keeps the run in the store, and writes `Done` to its output.
"""

import os
import pickle
import subprocess
import sys
import threading
import time
from typing import Final

import msgspec

from penstock.config.settings import Settings
from penstock.console.simulation_form import Refused, Wish

COMMAND: Final = (sys.executable, "-m", "penstock.bootstrap.simulation_child")
MOST_REQUESTS: Final = 200_000
"""the first of the window: a page is waited for"""
MOST_S: Final = 120.0
MOST_POLICIES: Final = 6


class Start(msgspec.Struct, frozen=True):
    """What the child is to do."""

    settings: Settings
    wish: Wish


class Done(msgspec.Struct, frozen=True):
    """What became of it: the id of the run, or why there is none."""

    id: str | None = None
    message: str = ""
    hint: str = ""


class Simulations:
    """Runs one wish at a time, each in a process that ends with this one."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._busy = settings, threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def run(self, wish: Wish) -> str:
        """The id of the run. Raises `Refused`."""
        if not self._busy.acquire(blocking=False):
            raise Refused("another simulation is being run", "look again in a moment", busy=True)
        try:
            done = self._asked(Start(self._settings, wish))
        finally:
            self._busy.release()
        if done.id is None:
            raise Refused(done.message, done.hint)
        return done.id

    def close(self) -> None:
        """Ends what runs; nothing runs afterwards."""
        self._closed = True
        if (child := self._child) is not None:
            child.kill()

    def _asked(self, start: Start) -> Done:
        with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None and child.stdout is not None
            self._child = child
            try:
                if not self._closed:
                    child.stdin.write(pickle.dumps(start))
                    child.stdin.flush()  # and left open: the child ends when it is closed
                    child.wait(MOST_S)
            except subprocess.TimeoutExpired:
                hint = "take a shorter window or fewer policies, or `penstock simulate --keep`, which may take its time"
                raise Refused(f"the simulation took longer than {MOST_S:.0f} s", hint) from None
            except BrokenPipeError:
                child.wait()
            finally:
                self._child = None
                child.kill()
            if self._closed:
                raise Refused("the gateway stops", "ask again when it is back", busy=True)
            if child.returncode != 0:
                raise Refused("the simulation failed", "the log of the gateway says why")
            return msgspec.json.decode(child.stdout.read(), type=Done)


def simulate(start: Start) -> Done:
    """The wish, simulated and kept."""
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("numpy", "numba")):
        return Done(message="simulations need the extra `capacity`", hint='pip install "penstock[capacity]"')
    from penstock.bootstrap.simulating import Misnamed
    from penstock.capacity.replicas import DoesNotFit
    from penstock.domain.simulation.fleet import FleetError
    from penstock.domain.simulation.scaling.named import PolicyError
    from penstock.domain.simulation.slo import SloError
    from penstock.domain.simulation.trace import TraceError
    from penstock.finops.costs import QueryError
    from penstock.finops.window import WindowError

    try:
        return Done(id=_simulated(start.settings, start.wish))
    except (Misnamed, DoesNotFit, FleetError, PolicyError, SloError, TraceError, QueryError, WindowError) as problem:
        return Done(message=str(problem), hint=problem.hint)


def _simulated(settings: Settings, wish: Wish) -> str:
    from penstock.adapters.feeds.latency import latency_model
    from penstock.bootstrap.capacity import ledger_trace
    from penstock.bootstrap.ledger import open_documents
    from penstock.bootstrap.simulating import Misnamed, Named, hardware
    from penstock.capacity.simulating import Asked, Plan, simulated
    from penstock.capacity.simulation_report import keep
    from penstock.domain.simulation.checking import first_requests
    from penstock.domain.simulation.scaling.named import find_policy
    from penstock.domain.simulation.slo import parse_slo
    from penstock.finops.window import window

    now_ns = time.time_ns()
    policies = tuple(wish.policies.replace(",", " ").split())
    for name in policies:
        find_policy(name)
    if len(policies) > MOST_POLICIES:
        raise Misnamed(f"{len(policies)} policies are more than a page waits for", f"name up to {MOST_POLICIES}")
    plan = Plan(slo=parse_slo(wish.slo), slo_words=wish.slo, policies=policies)
    rented = hardware(Named(model=wish.model, gpu=wish.gpu, may_be_file=False), settings)
    span = window(wish.since, None, now_ns=now_ns, timezone=settings.server.timezone)
    read = ledger_trace(settings, span, wish.where.split(), now_ns=now_ns)
    trace, notes = first_requests(read.trace, MOST_REQUESTS), read.notes
    if trace.requests < read.trace.requests:
        notes = (*notes, f"the first {MOST_REQUESTS:,} of {read.trace.requests:,} requests")
    name = f"{rented.deployment.architecture.name} on {rented.name}"
    asked = Asked(f"sim_{now_ns // 10**6:x}", now_ns, name, f"the ledger, {span.label}", notes)
    report = simulated(trace, rented, plan, latency_model(), asked)
    keep(open_documents(settings), report)
    return report.id


def main() -> None:
    """The child: one wish from its input, until that is closed."""
    start: Start = pickle.load(sys.stdin.buffer)  # noqa: S301  written by our own parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout.buffer.write(msgspec.json.encode(simulate(start)))


def _end_with_parent() -> None:
    """A parent that is killed closes its end, too: nobody waits any more."""
    while os.read(sys.stdin.fileno(), 1):  # not by `sys.stdin`, whose lock would be held when the child ends by itself
        continue
    os._exit(1)


if __name__ == "__main__":
    # the module is `__main__` here, but the parent pickled `penstock.bootstrap.simulation_child.Start`
    from penstock.bootstrap.simulation_child import main as child

    child()
