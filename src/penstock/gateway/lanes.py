"""Places at upstreams that take only so many calls at once: who has one, who waits for one, and whose turn is next.

Classes have strict priority, critical first; within a class tenants take turns; within a tenant it is first come, first served. A
class may starve for as long as more urgent ones fill every place: its longest wait ends that. Times are monotonic seconds.
"""

import asyncio
from collections.abc import Mapping
from enum import Enum
from math import inf

from penstock.config.settings import Upstream
from penstock.config.spending import Queue
from penstock.gateway.exchange import Exchange
from penstock.gateway.refusal import Refusal, too_busy
from penstock.gateway.turns import Turns

CLASSES = ("critical", "standard", "best_effort")
"""most urgent first"""
RETRY_AFTER_S = {"critical": 1, "standard": 2, "best_effort": 5}


class Verdict(Enum):
    """How a wait for a place ended."""

    GRANTED = "granted"
    LATE = "late"
    SHED = "shed"


Waiter = asyncio.Future[Verdict]


def class_of(sla: str | None) -> str:
    """The class of a request with this `sla`; standard without one, or with one of the firm's own."""
    return sla if sla in RETRY_AFTER_S else "standard"


class Lane:
    """The places at one upstream and those who wait for them. While anyone waits, every place is taken."""

    def __init__(self, upstream: str, places: int, lanes: "Lanes") -> None:
        self.upstream = upstream
        self.places = places
        self.taken = 0
        self.turns: dict[str, Turns[Waiter]] = {sla: Turns() for sla in CLASSES}
        self._lanes = lanes

    async def enter(self, sla: str, tenant: str, longest_s: float) -> Verdict:
        """Takes a place, after waiting for it up to `longest_s`. Whoever is granted one gives it back with `leave`."""
        if self.taken < self.places:
            self.taken += 1
            return Verdict.GRANTED
        if longest_s <= 0:
            return Verdict.LATE
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        self.turns[sla].add(tenant, waiter)
        self._lanes.make_room()
        timer = loop.call_later(longest_s, _end, waiter, Verdict.LATE)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.result() is Verdict.GRANTED:
                self.leave()  # the client went away between the grant and this line
            raise
        finally:
            timer.cancel()
            self.turns[sla].remove(tenant, waiter)

    def leave(self) -> None:
        """Gives a place back; whoever is next has it at once."""
        for turns in self.turns.values():
            while (waiter := turns.take()) is not None:
                if _end(waiter, Verdict.GRANTED):
                    return
        self.taken -= 1


def _end(waiter: Waiter, verdict: Verdict) -> bool:
    """False: its wait had ended already."""
    if waiter.done():
        return False
    waiter.set_result(verdict)
    return True


class Lanes:
    """The lanes of one worker, which share a bound on how many wait in all of them. Upstreams without `max_concurrent` have none."""

    def __init__(self, upstreams: Mapping[str, Upstream], queue: Queue, workers: int) -> None:
        bounds = {name: given.max_concurrent for name, given in upstreams.items()}
        self._lanes = {name: Lane(name, max(1, bound // workers), self) for name, bound in bounds.items() if bound is not None}
        self._longest_s: dict[str, float] = {sla: getattr(queue, sla) for sla in CLASSES}
        self._most = queue.max_waiting
        self.held = 0
        """best-effort requests that wait because an objective holds them back"""
        self.shed = dict.fromkeys(CLASSES, 0)
        """requests answered 429 for want of a place, by class"""

    def of(self, upstream: str) -> Lane | None:
        return self._lanes.get(upstream)

    async def enter(self, lane: Lane, x: Exchange) -> None:
        """Takes a place for a request, whose waits together last no longer than its class may wait. Raises `Refusal` (limit)."""
        sla = class_of(x.sla)
        loop = asyncio.get_running_loop()
        began = loop.time()
        verdict = await lane.enter(sla, x.tenant, self.left_s(x))
        if verdict is Verdict.GRANTED:
            x.waited_s += loop.time() - began
            return
        x.waited_s = inf  # it still takes a place that is free elsewhere, but waits no more
        raise self._no_place(lane, sla, verdict)

    def leave(self, upstream: str) -> None:
        """Gives back what `enter` took, if the upstream has a lane at all."""
        lane = self._lanes.get(upstream)
        if lane is not None:
            lane.leave()

    def left_s(self, x: Exchange) -> float:
        """How much longer a request may wait."""
        return self._longest_s[class_of(x.sla)] - x.waited_s

    def note_shed(self, x: Exchange) -> None:
        self.shed[class_of(x.sla)] += 1

    def make_room(self) -> None:
        """Sheds one when too many wait: the newest of the most greedy tenant of the least urgent class, be it the newcomer."""
        if self.waiting <= self._most:
            return
        for sla in reversed(CLASSES):
            crowds = [lane.turns[sla] for lane in self._lanes.values() if lane.turns[sla]]
            if crowds:
                _end(max(crowds, key=lambda turns: turns.greed).drop(), Verdict.SHED)
                return

    @property
    def waiting(self) -> int:
        return sum(len(turns) for lane in self._lanes.values() for turns in lane.turns.values())

    def gauges(self) -> dict[str, dict[str, int]]:
        """How many wait, and how many were shed so far, by class."""
        queue = {sla: sum(len(lane.turns[sla]) for lane in self._lanes.values()) for sla in CLASSES}
        queue["best_effort"] += self.held
        return {"queue": queue, "shed": dict(self.shed)}

    def _no_place(self, lane: Lane, sla: str, verdict: Verdict) -> Refusal:
        longest_s, again_s = self._longest_s[sla], RETRY_AFTER_S[sla]
        if verdict is Verdict.SHED:
            message = f"too many requests wait for upstreams, and this {sla} one for `{lane.upstream}` had to make room"
            return too_busy(message, f"Try again in {again_s} s, or raise queue.max_waiting", again_s)
        within = f" within {longest_s:g} s" if longest_s > 0 else ""
        message = f"upstream `{lane.upstream}` had no place for a {sla} request{within}"
        return too_busy(message, f"Try again in {again_s} s, or raise upstreams.{lane.upstream}.max_concurrent or queue.{sla}", again_s)
