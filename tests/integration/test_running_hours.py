"""Hours that are not closed yet: split once for all windows of one reading, with the figures that each window has alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.domain.ledger.entries import HOUR_NS
from penstock.finops.allocating import SHORT, Rig, pieces
from penstock.finops.books import Books
from penstock.finops.fleet_costs import FleetWindow
from penstock.finops.ledger import Ledger
from penstock.finops.other_costs import other_cost, other_costs
from tests.integration.test_statement import SPAN_H, T0, Site, site_of

NOW = T0 + SPAN_H * HOUR_NS - 17 * 10**9


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return site_of(tmp_path)


@pytest.fixture
def books(site: Site) -> Iterator[Books]:
    with site.store.snapshot() as snapshot:
        yield Books(site.settings, Ledger(snapshot, site.tail), NOW, lambda fleet: None)


@pytest.fixture
def splits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The stretches that were split, in hours since the first."""
    found: list[tuple[int, int]] = []
    split = Rig.split

    def counted(self: Rig, books: Books, first: int, last: int, *more: Any, **named: Any) -> Any:
        yield from split(self, books, first, last, *more, **named)
        found.append((first - T0 // HOUR_NS, last - T0 // HOUR_NS))

    monkeypatch.setattr(Rig, "split", counted)
    return found


def test_windows_that_end_now_split_the_running_hours_once(books: Books, splits: list[tuple[int, int]]) -> None:
    windows = [(T0 + hour * HOUR_NS, NOW) for hour in range(3)]
    together = [FleetWindow(books, *window) for window in windows]
    assert splits == [(3, SPAN_H)], "the hours before are closed"
    for window, found in zip(windows, together, strict=True):
        alone = FleetWindow(msgspec.structs.replace(books, running={}), *window)
        assert (found.hours, found.groups(("team",))) == (alone.hours, alone.groups(("team",)))
    assert len(splits) == 1 + len(windows)


def test_another_cut_is_split_anew(books: Books, splits: list[tuple[int, int]]) -> None:
    whole = FleetWindow(books, T0, NOW)
    cut = FleetWindow(books, T0, NOW - 60 * 10**9)
    assert len(splits) == 2
    assert sum(hour.gpu_ns for hour in cut.hours) < sum(hour.gpu_ns for hour in whole.hours)


def test_hours_that_nobody_closed_are_not_kept_in_memory(books: Books) -> None:
    late = msgspec.structs.replace(books, now_ns=T0 + (SPAN_H + SHORT) * HOUR_NS)
    assert list(pieces(late, T0, late.now_ns, set())) and not late.running


def test_other_costs_by_hour_are_those_of_each_hour(site: Site) -> None:
    month = 1_767_225_600 * 10**9  # 2026-01-01
    spans = [(month + hour * HOUR_NS, month + (hour + 1) * HOUR_NS) for hour in range(-30, 30)]
    spans.append((spans[-1][1], spans[-1][1]))
    for cost in site.settings.costs.values():
        for zone in ("UTC", "Asia/Kolkata"):
            assert other_costs(cost, spans, zone) == [other_cost(cost, *span, zone) for span in spans]
            assert not other_costs(cost, [], zone)
