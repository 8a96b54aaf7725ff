"""Keeps what the meters told of every fleet and hour, before their Prometheus forgets it. Runs in the controller, before allocation."""

from collections.abc import Callable, Sequence

from penstock.config.settings import Settings
from penstock.domain.ledger.entries import HOUR_NS, EngineHour
from penstock.finops.meters.engines import HOUR_S, NOTHING, engine_span
from penstock.finops.meters.series import question
from penstock.ports.cost_store import CostStore
from penstock.ports.telemetry import Telemetry, TelemetryError
from penstock.ports.usage_store import UsageStore

BACK_HOURS = 15 * 24
"""as far as a Prometheus remembers unless it is told otherwise"""
SETTLE_NS = 90 * 10**9
"""after an hour's end, for its last scrapes to be in"""
PER_STEP = 4
FIRST_PAUSE_NS = 15 * 10**9
LONGEST_PAUSE_NS = 900 * 10**9
LATE_HOURS = 2
"""an hour of which there is nothing at all is asked for again as long as this"""
Reading = tuple[str, int]
"""(fleet, hour)"""


class Collector:
    """Reads finished hours that have no reading yet, oldest first, a few at each step."""

    def __init__(
        self,
        settings: Settings,
        telemetry: Telemetry,
        store: UsageStore,
        costs: CostStore,
        log: Callable[[str], None],
        *,
        observe: Callable[[Sequence[Reading]], None] = lambda readings: None,
    ) -> None:
        """`observe` hears of each new reading once it is kept: what was allocated without it is worth doing again."""
        self._questions = {name: question(settings, name) for name in settings.fleets}
        self._telemetry, self._store, self._costs, self._log, self._observe = telemetry, store, costs, log, observe
        self._listed = 0
        """the hour up to which `_missing` was listed"""
        self._missing: list[Reading] = []
        self._later: dict[str, int] = {}
        """fleet -> when it is asked for again"""
        self._told: dict[str, str] = {}
        """fleet -> why it was refused last"""
        self._pause_ns = 0
        self._again_ns = 0

    def step(self, now_ns: int) -> int:
        """Reads and keeps a few hours; returns how many. While nobody answers it returns at once, and asks again after a pause.

        Raises `StoreError`.
        """
        if now_ns < self._again_ns or not self._questions:
            return 0
        self._list(now_ns)
        readings: list[EngineHour] = []
        done: list[Reading] = []
        for fleet, hour in self._due(now_ns):
            if self._waits(fleet, now_ns):
                continue
            try:
                reading = engine_span(self._telemetry, self._questions[fleet], hour * HOUR_S, (hour + 1) * HOUR_S)
                if reading.note == NOTHING and (hour + LATE_HOURS + 1) * HOUR_NS > now_ns:
                    self._later[fleet] = now_ns + FIRST_PAUSE_NS * 4  # it may get its samples from elsewhere, late
                    continue
                readings.append(reading)
                done.append((fleet, hour))
            except TelemetryError as problem:
                if not problem.refused:
                    self._wait(now_ns, problem)
                    break
                self._put_off(fleet, now_ns, problem)
        else:
            self._answered(bool(done))
        if readings:
            self._costs.put_engine_hours(readings)
            self._missing = [each for each in self._missing if each not in done]
            self._observe(done)
        return len(done)

    def _list(self, now_ns: int) -> None:
        """Looks up which hours lack a reading, once in each hour: the ledger's first hour to the last finished one."""
        until = (now_ns - SETTLE_NS) // HOUR_NS
        if until == self._listed:
            return
        with self._store.snapshot() as snapshot:
            span = snapshot.span()
            since = until if span is None else max(span[0] // HOUR_NS, until - BACK_HOURS)
            kept = {(reading.fleet, reading.hour) for reading in snapshot.costs.engine_hours(since, until)}
        self._missing = [(fleet, hour) for hour in range(since, until) for fleet in self._questions if (fleet, hour) not in kept]
        self._listed = until

    def _due(self, now_ns: int) -> list[Reading]:
        return [each for each in self._missing if not self._waits(each[0], now_ns)][:PER_STEP]

    def _waits(self, fleet: str, now_ns: int) -> bool:
        return now_ns < self._later.get(fleet, 0)

    def _wait(self, now_ns: int, problem: TelemetryError) -> None:
        if not self._pause_ns:
            self._log(f"warning: the GPUs' meters cannot be read, and are asked for again: {problem}\nhint: {problem.hint}")
        self._pause_ns = min(max(self._pause_ns * 2, FIRST_PAUSE_NS), LONGEST_PAUSE_NS)
        self._again_ns = now_ns + self._pause_ns

    def _answered(self, read: bool) -> None:
        if self._pause_ns and read:
            self._log("the GPUs' meters are read again")
            self._pause_ns = 0

    def _put_off(self, fleet: str, now_ns: int, problem: TelemetryError) -> None:
        """One fleet's question is at fault: the others go on."""
        if self._told.get(fleet) != str(problem):
            self._log(f"warning: the meters of fleet `{fleet}` cannot be read: {problem}\nhint: {problem.hint}")
        self._told[fleet] = str(problem)
        self._later[fleet] = now_ns + LONGEST_PAUSE_NS
