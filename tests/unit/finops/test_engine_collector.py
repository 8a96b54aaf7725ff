"""Readings of meters are kept hour by hour, oldest first; what cannot be read now is asked for again, and nothing is made up."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import pytest

from penstock.config.load import parse
from penstock.domain.ledger.entries import HOUR_NS, EngineHour
from penstock.finops.meters.collector import LONGEST_PAUSE_NS, PER_STEP, SETTLE_NS, Collector, Reading
from penstock.ports.cost_store import CostStore
from penstock.ports.telemetry import TelemetryError
from penstock.ports.usage_store import StoreError, UsageStore
from tests.unit.finops.telemetries import HOUR, Given, every, series

FLEETS = """
version = 1
[fleets.a]
gpu = "L4"
match = { Hostname = "a" }
[fleets.b]
gpu = "L4"
match = { Hostname = "b" }
"""
NOW = HOUR * HOUR_NS + SETTLE_NS


class Kept:
    """A store that holds readings only; its ledger begins `hours` before `HOUR`."""

    def __init__(self, hours: int | None) -> None:
        self.kept: dict[tuple[str, int], EngineHour] = {}
        self.first = None if hours is None else HOUR - hours
        self.listed = 0
        self.broken = False

    @property
    def costs(self) -> "Kept":
        return self

    @contextmanager
    def snapshot(self) -> Iterator["Kept"]:
        self.listed += 1
        yield self

    def span(self) -> tuple[int, int] | None:
        return None if self.first is None else (self.first * HOUR_NS + 17, HOUR * HOUR_NS)

    def engine_hours(self, since_hour: int, until_hour: int) -> list[EngineHour]:
        return [each for (_, hour), each in self.kept.items() if since_hour <= hour < until_hour]

    def put_engine_hours(self, readings: Sequence[EngineHour]) -> None:
        if self.broken:
            raise StoreError("locked")
        self.kept |= {(each.fleet, each.hour): each for each in readings}


class Rig:
    def __init__(self, hours: int | None, telemetry: Given | None = None) -> None:
        self.store, self.telemetry, self.said = Kept(hours), telemetry or Given(series("up", every(1.0))), list[str]()
        self.new: list[Reading] = []
        self.collector = self.anew()

    def anew(self) -> Collector:
        store = self.store
        return Collector(
            parse(FLEETS, {}), self.telemetry, cast(UsageStore, store), cast(CostStore, store), self.said.append, observe=self.new.extend
        )

    def step(self, after_s: float = 0) -> list[tuple[str, int]]:
        """What a step read anew, as its observer hears of it."""
        self.new.clear()
        count = self.collector.step(NOW + round(after_s * 10**9))
        assert count == len(self.new)
        return list(self.new)


def test_hours_are_read_oldest_first_and_once() -> None:
    rig = Rig(3)
    assert rig.step() == [("a", HOUR - 3), ("b", HOUR - 3), ("a", HOUR - 2), ("b", HOUR - 2)]
    assert len(rig.step()) == 2
    asked = len(rig.telemetry.asked)
    assert rig.step(after_s=60) == []
    assert (len(rig.telemetry.asked), rig.store.listed) == (asked, 1), "nothing to do costs nothing"
    assert sorted(rig.store.kept) == sorted((fleet, HOUR - back) for fleet in "ab" for back in (1, 2, 3))
    assert rig.step(after_s=3600) == [("a", HOUR), ("b", HOUR)]


def test_what_was_kept_is_not_read_again_after_a_restart() -> None:
    rig = Rig(3)
    rig.step()
    rig.collector = rig.anew()
    assert rig.step() == [("a", HOUR - 1), ("b", HOUR - 1)]


def test_an_hour_waits_for_its_last_scrapes() -> None:
    assert Rig(1).step(after_s=-1) == []
    assert {hour for _, hour in Rig(1).step()} == {HOUR - 1}


def test_no_further_back_than_the_ledger_or_fifteen_days() -> None:
    assert Rig(None).step() == []
    long = Rig(10_000)
    assert long.step()[0] == ("a", HOUR - 360)


def test_a_prometheus_that_is_down_is_told_of_once_and_asked_again() -> None:
    rig = Rig(3)
    rig.telemetry.raises = lambda _: TelemetryError("no answer", "start it")
    for seconds in range(0, 3600, 5):
        rig.step(after_s=seconds)
    assert rig.said == ["warning: the GPUs' meters cannot be read, and are asked for again: no answer\nhint: start it"]
    assert 5 < len(rig.telemetry.asked) < 15, "with longer and longer pauses"
    assert rig.store.kept == {}, "nothing is made up"
    rig.telemetry.raises = lambda _: None
    assert len(rig.step(after_s=3600 + LONGEST_PAUSE_NS / 1e9)) == PER_STEP
    assert rig.said[1:] == ["the GPUs' meters are read again"]


def test_what_was_read_before_it_went_down_is_kept() -> None:
    rig = Rig(3)
    rig.telemetry.raises = lambda _: TelemetryError("gone", "x") if len(rig.store.kept) == 0 and len(rig.telemetry.asked) > 2 else None
    assert rig.step() == [("a", HOUR - 3)]
    assert list(rig.store.kept) == [("a", HOUR - 3)]


def test_a_question_that_is_refused_holds_no_other_fleet_up() -> None:
    rig = Rig(6)
    rig.telemetry.raises = lambda promql: TelemetryError("parse error", "correct it", refused=True) if '"a"' in promql else None
    for seconds in range(10):
        rig.step(after_s=seconds)
    assert {fleet for fleet, _ in rig.store.kept} == {"b"}
    assert len(rig.store.kept) == 6
    assert rig.said == ["warning: the meters of fleet `a` cannot be read: parse error\nhint: correct it"]
    rig.telemetry.raises = lambda _: None
    for seconds in range(901, 910):
        rig.step(after_s=seconds)
    assert len(rig.store.kept) == 12


def test_an_hour_of_which_there_is_nothing_yet_is_asked_for_again_and_then_kept_as_unknown() -> None:
    rig = Rig(1, Given(alive={}))
    assert rig.step() == []
    assert rig.store.kept == {}
    rig.step(after_s=2 * 3600)
    assert rig.store.kept["a", HOUR - 1].note == "the Prometheus has nothing of this time"


def test_a_store_that_fails_loses_no_hour() -> None:
    rig = Rig(1)
    rig.store.broken = True
    with pytest.raises(StoreError):
        rig.step()
    rig.store.broken = False
    assert len(rig.step()) == 2
