"""Drives the kernel from tick to tick: asks the policy, starts and stops replicas, interrupts them, writes the timeline and the bill."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from penstock.domain.simulation import engine
from penstock.domain.simulation import engine_state as known
from penstock.domain.simulation.demand import speed
from penstock.domain.simulation.fleet import CAUSES, ROUTINGS, Fleet, Interruption, Run, Timeline
from penstock.domain.simulation.replica import CACHED, SERVED, SPILLED, Outcome, Signals
from penstock.domain.simulation.scaling.policy import Policy
from penstock.domain.simulation.shield import Shield
from penstock.domain.simulation.trace import Ints, Trace

TICKS = 1_000
"""of a fleet that nobody scales, until the last request comes"""
SHORTEST_TICK_S = 1.0
P95 = 95
SHARES_AND_TIMES = frozenset({"at_s", "kv_use", "active", "ttft_p95_s"})


class Owned(NamedTuple):
    """A replica on the bill."""

    kind: int
    wished_s: float
    gone_s: float


class Drive:
    """One run of a trace on a fleet."""

    def __init__(self, trace: Trace, fleet: Fleet, policy: Policy | None, seed: int) -> None:
        self.trace, self.fleet = trace, fleet
        self.scaler = None if policy is None else policy.begin()
        self.interval_s = max(SHORTEST_TICK_S, trace.duration_s / TICKS) if policy is None else policy.interval_s
        self.dice = np.random.default_rng([seed, 0])
        self.state = begin(trace, fleet, seed)
        self.asked = list(fleet.start)
        self.lost = [0] * len(fleet.kinds)
        self.wished: dict[int, float] = {}
        """by slot: since when its replica is billed"""
        self.bill: list[Owned] = []
        self.rows: list[tuple[float, ...]] = []
        self.marks: list[tuple[float, int]] = [(0.0, 0)]
        """by tick: first tokens until then"""
        self.seen = 0
        self.busy_s = self.retired_s = 0.0
        events = [(each.at_s, True, each) for each in fleet.interruptions] + [(each.until_s, False, each) for each in fleet.interruptions]
        self.events: list[tuple[float, bool, Interruption]] = sorted(events, key=lambda event: event[:2])
        for kind, count in enumerate(fleet.start):
            for _ in range(count):
                self._start(kind, 0.0, 0.0)

    def run(self, progress: Callable[[float], None] | None) -> Run:
        gateway, requests = self.state.gateway[0], self.trace.requests
        patience = max(self.fleet.patience_s, 2 * max(kind.cold_start_s for kind in self.fleet.kinds))
        at_s = live_s = 0.0
        number = 0
        while gateway.ended < requests and at_s - live_s <= patience:
            number += 1
            if self.scaler is None and number % (2 * TICKS) == 0:
                self.interval_s *= 2  # nobody waits for a tick, and a queue may outlive the trace a thousand times
            at_s += self.interval_s
            self._play(at_s)
            self._tick(at_s)
            if gateway.next < requests or self.events or np.isfinite(self.state.slots.end_s).any():
                live_s = at_s
            if progress is not None:
                progress(float(gateway.ended) / requests)
        return self._result(at_s)

    def _play(self, until_s: float) -> None:
        while self.events and self.events[0][0] <= until_s:
            at_s, lost, interruption = self.events.pop(0)
            engine.run_until(self.state, at_s)
            if lost:
                self._interrupt(interruption)
            else:
                self.lost[interruption.kind] -= interruption.replicas
            self._reconcile(interruption.kind, at_s)
        engine.run_until(self.state, until_s)

    def _tick(self, at_s: float) -> None:
        self._settle()
        signals = self._signals(at_s)
        kind = self.fleet.scaled
        if self.scaler is not None and kind is not None:
            others = sum(self.asked) - self.asked[kind]
            self.asked[kind] = min(max(int(self.scaler.desired(signals)) - others, self.fleet.least), self.fleet.most)
            self._reconcile(kind, at_s)
        told = np.nan if signals.ttft_p95_s is None else signals.ttft_p95_s
        now = (signals.ready, signals.starting, signals.waiting, signals.running, signals.tokens_in_flight)
        self.rows.append((at_s, *now, signals.kv_use, signals.active, signals.arrivals, told, sum(self.asked)))

    def _signals(self, at_s: float) -> Signals:
        slots, gateway = self.state.slots, self.state.gateway[0]
        ready = int(np.count_nonzero(slots.status == known.READY))
        used, room = engine.memory_used(self.state, at_s)
        works = np.isfinite(slots.end_s) & (slots.steps > 0)
        busy_s = self.retired_s + float(slots.busy_s.sum() + (at_s - slots.begin_s[works]).sum())
        arrivals, self.seen = int(gateway.next) - self.seen, int(gateway.next)
        worked, self.busy_s = busy_s - self.busy_s, busy_s
        return Signals(
            at_s=at_s,
            ready=ready,
            starting=int(np.count_nonzero(slots.status == known.STARTING)),
            waiting=int(slots.waiting.sum() + gateway.held),
            running=int(slots.running.sum()),
            tokens_in_flight=int(slots.tokens.sum() + gateway.held_tokens),
            token_capacity=room,
            kv_use=min(used / room, 1.0) if room else 0.0,
            active=min(max(worked / (ready * self.interval_s), 0.0), 1.0) if ready else 0.0,
            ttft_p95_s=self._ttft_p95(at_s),
            arrivals=arrivals,
            interval_s=self.interval_s,
        )

    def _ttft_p95(self, at_s: float) -> float | None:
        """Of first tokens within the window; the log is in order from tick to tick, not within one."""
        since_s = at_s - self.fleet.ttft_window_s
        while len(self.marks) > 1 and self.marks[1][0] <= since_s:
            self.marks.pop(0)
        count = int(self.state.gateway[0].firsts)
        recent = self.state.firsts[self.marks[0][1] : count]
        self.marks.append((at_s, count))
        first = self.state.requests.first_token_s[recent]
        within = first > since_s
        waits = first[within] - self.trace.arrival_s[recent][within]
        return float(np.percentile(waits, P95)) if len(waits) else None

    def _start(self, kind: int, at_s: float, cold_s: float) -> None:
        empty = np.flatnonzero(self.state.slots.status == known.EMPTY)
        if not len(empty):
            empty = np.array([len(self.state.slots)])
            self.state = known.more_slots(self.state)
        slot = int(empty[0])
        self.wished[slot] = at_s
        engine.start(self.state, slot, kind, at_s + cold_s)

    def _scales(self, kind: int) -> bool:
        return self.scaler is not None and kind == self.fleet.scaled

    def _reconcile(self, kind: int, at_s: float) -> None:
        """As many replicas as were asked for and can be had: starts some, or stops those that load, the last first, then the idlest.

        A policy counts what is there, so what it asks for makes up for losses already, as far as the fleet's most can be had."""
        slots = self.state.slots
        there = np.flatnonzero((slots.kind == kind) & ((slots.status == known.STARTING) | (slots.status == known.READY)))
        asked, lost = self.asked[kind], self.lost[kind]
        wanted = max(min(asked, self.fleet.most - lost) if self._scales(kind) else asked - lost, 0)
        for _ in range(wanted - len(there)):
            self._start(kind, at_s, self.fleet.kinds[kind].cold_start_s)
        if len(there) > wanted:
            work = slots.running[there] + slots.waiting[there]
            order = np.lexsort((-slots.serial[there], work, slots.status[there] == known.READY))
            for slot in there[order][: len(there) - wanted]:
                engine.stop(self.state, int(slot), at_s)
        self._settle()

    def _interrupt(self, interruption: Interruption) -> None:
        slots = self.state.slots
        alive = (slots.status == known.STARTING) | (slots.status == known.READY) | (slots.status == known.DRAINING)
        there = np.flatnonzero(alive & (slots.kind == interruption.kind))
        chosen = self.dice.permutation(there[np.argsort(slots.serial[there])])[: interruption.replicas]
        for slot in chosen:
            engine.kill(self.state, int(slot), interruption.at_s)
        self.lost[interruption.kind] += interruption.replicas
        self._settle()

    def _settle(self) -> None:
        slots = self.state.slots
        for slot in np.flatnonzero(slots.status == known.GONE):
            self.bill.append(Owned(int(slots.kind[slot]), self.wished.pop(int(slot)), float(slots.gone_s[slot])))
            self.retired_s += float(slots.busy_s[slot])
            slots.busy_s[slot] = 0.0
            slots.status[slot] = known.EMPTY

    def _result(self, at_s: float) -> Run:
        requests = self.state.requests
        done = requests.finish_s[np.isfinite(requests.finish_s)]
        unfinished = int(self.state.gateway[0].ended) < self.trace.requests
        end_s = at_s if unfinished else max(self.trace.duration_s, float(done.max()) if len(done) else 0.0)
        kinds = self.state.slots.kind
        bill = self.bill + [Owned(int(kinds[slot]), wished, end_s) for slot, wished in self.wished.items()]
        seconds = [0.0] * len(self.fleet.kinds)
        for owned in bill:
            seconds[owned.kind] += max(min(owned.gone_s, end_s) - owned.wished_s, 0.0)
        waits = self.state.waits_s
        outcome = Outcome(
            requests.first_token_s,
            requests.finish_s,
            requests.replica.astype(np.int32),
            requests.fate.astype(np.int8),
            requests.reused,
            requests.preemptions.astype(np.int32),
        )
        return Run(outcome, timeline_of(self.rows), tuple(seconds), end_s, tuple(float(wait) for wait in waits))


def begin(trace: Trace, fleet: Fleet, seed: int) -> known.State:
    """A fleet with no replica, before the first request. What a cache or another tier takes is drawn here."""
    shield = fleet.shield or Shield()
    chance = np.random.default_rng([seed, 1]).random(trace.requests)
    preset = np.full(trace.requests, SERVED, np.int64)
    preset[chance < fleet.cache_hit_rate + fleet.other_tier_rate] = SPILLED
    preset[chance < fleet.cache_hit_rate] = CACHED
    luck = np.random.default_rng([seed, 2]).random(trace.requests)
    lucky: Ints = (luck < (shield.hit_rate if shield.caches else 0.0)).astype(np.int64)
    speeds = [speed(kind, trace) for kind in fleet.kinds]
    kinds, decode = known.kinds_of(fleet.kinds, [one / max(speeds) for one in speeds])
    slots, nodes = max(sum(fleet.start), 1), known.nodes_of(trace, fleet.kinds)
    spill = (shield.spill_after_s if shield.spills else np.inf, shield.spill_ttft_s, shield.spill_tpot_s)
    return known.State(
        kinds,
        decode,
        known.requests_of(trace, preset, lucky),
        np.ascontiguousarray(trace.blocks, np.int64),
        known.slots_of(slots),
        np.zeros((slots, decode.shape[1] - 1), np.int64),
        known.places_of(slots, nodes),
        known.empty_table((slots, nodes), known.NODE),
        known.gateway_of(ROUTINGS.index(fleet.routing), int(kinds.longest.max()), trace.block_tokens, spill),
        np.zeros(len(CAUSES)),
        np.zeros(trace.requests, np.int64),
    )


def timeline_of(rows: list[tuple[float, ...]]) -> Timeline:
    """Rows of ticks as columns, counts as integers."""
    table = np.array(rows, float).reshape(-1, len(Timeline._fields))
    columns = {
        name: table[:, at] if name in SHARES_AND_TIMES else table[:, at].astype(np.int64) for at, name in enumerate(Timeline._fields)
    }
    return Timeline(**columns)  # type: ignore[arg-type]  # each column by its own name
