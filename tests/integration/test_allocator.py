"""Closing own fleets' hours on a real ledger: whatever comes late, is stopped halfway or done twice, the rows are those of the law."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.bootstrap.ledger import runs_of
from penstock.domain.ledger.entries import HOUR_NS, Allocation, Close, FleetHour
from penstock.finops import allocator as allocator_module
from penstock.finops.allocating import pieces
from penstock.finops.allocator import GRACE_NS, Allocator
from penstock.finops.books import Books
from penstock.finops.ledger import Ledger
from penstock.ports.cost_store import CostStore, Mark
from penstock.ports.usage_store import StoreError
from tests.integration.allocating_rig import (
    HOUR,
    METERS,
    MINUTE,
    OTHER,
    RENT,
    SCALES,
    T0,
    TRAFFIC,
    Site,
    assert_every_dollar_once,
    call,
    ordered,
    reading,
    run_to_the_end,
    training,
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    url = f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    site = Site(url, tmp_path)
    yield site
    site.store.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    site = Site(f"sqlite:///{tmp_path}/ledger.db", tmp_path)
    yield site
    site.store.close()


def test_closed_hours_are_what_stood_there_on_the_fly(site: Site) -> None:
    site.configured(OTHER)
    site.take(*TRAFFIC)
    now = T0 + 5 * HOUR_NS + GRACE_NS
    on_the_fly = site.pieces(T0, T0 + 5 * HOUR_NS)
    allocator = site.allocator()
    assert allocator.step(now - 1) == 8
    assert allocator.step(now) == 2
    assert allocator.step(now) == 0
    assert ordered(site.stored()) == ordered(on_the_fly)
    assert_every_dollar_once(site.stored())
    with site.store.snapshot() as snapshot:
        books = Books(site.settings, Ledger(snapshot), now, lambda fleet: None)
        closed = {(hour.fleet, hour.hour) for hour, _ in on_the_fly}
        rest = list(pieces(books, T0, now, closed))
        assert {(hour.fleet, hour.since_ns, hour.until_ns) for hour, _ in rest} == {
            (fleet, T0 + 5 * HOUR_NS, now) for fleet in ("l40s", "h100")
        }  # fmt: skip


class Watched:
    """Counts the writes, and fails those that it is told to."""

    def __init__(self, costs: CostStore, fail: Callable[[int], bool] = lambda number: False) -> None:
        self._costs, self._fail = costs, fail
        self.hours: list[list[tuple[str, int]]] = []

    def put_fleet_hours(self, hours: Sequence[FleetHour], allocations: Sequence[Allocation], answered: Sequence[Mark] = ()) -> None:
        self.hours.append([(hour.fleet, hour.hour) for hour in hours])
        if self._fail(len(self.hours)):
            raise StoreError("the store is away")
        self._costs.put_fleet_hours(hours, allocations, answered)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._costs, name)


def test_batches_of_any_size_give_the_same_rows(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    here.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    expected = ordered(here.pieces(T0, T0 + 5 * HOUR_NS))
    monkeypatch.setattr(allocator_module, "BATCH_HOURS", 2)
    monkeypatch.setattr(allocator_module, "BATCH_SHARES", 1)
    watched = Watched(here.costs)
    assert run_to_the_end(here.allocator(watched), now) == 5
    assert watched.hours == [[("l40s", HOUR + n)] for n in range(5)]
    assert ordered(here.stored()) == expected


def test_a_stop_at_any_write_loses_nothing(here: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    here.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    expected = ordered(here.pieces(T0, T0 + 5 * HOUR_NS))
    monkeypatch.setattr(allocator_module, "BATCH_HOURS", 2)
    watched = Watched(here.costs, lambda number: number in (1, 3))
    allocator = here.allocator(watched)
    for _ in range(2):
        with pytest.raises(StoreError):
            run_to_the_end(allocator, now)
    again = here.allocator()
    run_to_the_end(again, now)
    assert ordered(here.stored()) == expected


def test_closing_twice_changes_nothing(site: Site) -> None:
    site.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    run_to_the_end(site.allocator(), now)
    first, watched = site.stored(), Watched(site.costs)
    assert run_to_the_end(site.allocator(watched), now) == 0
    assert watched.hours == []
    assert site.stored() == first


def test_what_comes_late_opens_its_hours_again(site: Site) -> None:
    site.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    allocator, late = site.allocator(), call("late", 100, 30)
    run_to_the_end(allocator, now)
    site.take(late)
    assert allocator.step(now) == 0, "it looks for what is late once a minute"
    assert allocator.step(now + MINUTE) == 2
    assert ordered(site.stored()) == ordered(site.pieces(T0, T0 + 5 * HOUR_NS))
    with site.store.snapshot() as snapshot:
        assert [share.hour for share in snapshot.costs.allocations("late")] == [HOUR + 1, HOUR + 2]


def test_what_came_just_before_the_end_is_found_at_the_start(here: Site) -> None:
    here.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    run_to_the_end(here.allocator(), now)
    here.take(call("late", 100, 30))
    watched = Watched(here.costs)
    run_to_the_end(here.allocator(watched), now)
    assert watched.hours == [[("l40s", HOUR + 1), ("l40s", HOUR + 2)]]
    assert ordered(here.stored()) == ordered(here.pieces(T0, T0 + 5 * HOUR_NS))


def test_an_older_record_begins_the_ledger_earlier(here: Site) -> None:
    here.take(call("a", 30), call("b", 200))
    now = T0 + 6 * HOUR_NS
    allocator = here.allocator()
    run_to_the_end(allocator, now)
    assert here.stored()[0][0].since_ns == T0 + 30 * MINUTE
    here.take(call("older", -170))
    run_to_the_end(allocator, now + MINUTE)
    assert ordered(here.stored()) == ordered(here.pieces(0, T0 + 5 * HOUR_NS))
    assert here.stored()[0][0].since_ns == T0 - 170 * MINUTE


def test_what_comes_with_an_older_record_is_late_all_the_same(here: Site) -> None:
    here.take(call("a", 30), call("b", 200))
    now = T0 + 6 * HOUR_NS
    allocator = here.allocator()
    run_to_the_end(allocator, now)
    both = (call("older", -170), call("late", 130), call("running", 355))
    here.take(*both)
    run_to_the_end(allocator, now + MINUTE)
    assert ordered(here.stored()) == ordered(here.pieces(0, T0 + 5 * HOUR_NS))
    assert run_to_the_end(allocator, T0 + 7 * HOUR_NS + GRACE_NS) == 2
    assert ordered(here.stored()) == ordered(here.pieces(0, T0 + 7 * HOUR_NS))


def test_what_comes_before_the_first_step_is_late_however_old(here: Site) -> None:
    here.take(*TRAFFIC)
    run_to_the_end(here.allocator(), T0 + 6 * HOUR_NS)
    now, late = T0 + 100 * HOUR_NS, call("late", 130)
    run_to_the_end(here.allocator(), now)
    allocator = here.allocator()
    here.take(late)
    run_to_the_end(allocator, now)
    assert "late" in {share.request_id for _, shares in here.stored() for share in shares}


def test_a_closed_month_stays_as_it_is(here: Site) -> None:
    here.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    allocator, late = here.allocator(), call("late", 100, 130)
    run_to_the_end(allocator, now)
    before = here.stored()
    month = Close(
        number=1, month="2026-01", timezone="UTC", since_ns=0, until_ns=T0 + 3 * HOUR_NS, closed_ns=now, inputs_sha256="", total=0, bill=""
    )  # fmt: skip
    here.costs.put_close(month)
    here.take(late)
    assert run_to_the_end(allocator, now + MINUTE) == 1, "only the hour after the month"
    assert [hour for hour, _ in here.stored()][:3] == [hour for hour, _ in before][:3]
    assert "late" in {share.request_id for share in here.stored()[3][1]}


def test_a_fleet_that_scales_waits_for_its_meters(site: Site) -> None:
    site.configured(SCALES + METERS)
    site.take(call("a", 0), call("b", 130, fleet="scales"))
    site.costs.put_engine_hours([reading(HOUR, runs=((T0, 1), (T0 + 30 * MINUTE, 3)))])
    allocator = site.allocator()
    now = T0 + HOUR_NS + GRACE_NS
    assert allocator.step(now) == 1, "the other pool's meters may still tell"
    assert allocator.step(now + HOUR_NS) == 1
    assert {(hour.fleet, hour.hour): hour.rent for hour, _ in site.stored()} == {("scales", HOUR): 6_000_000_000, ("l40s", HOUR): RENT}
    assert allocator.step(T0 + 25 * HOUR_NS) > 0
    assert ("scales", HOUR + 1) not in {(hour.fleet, hour.hour) for hour, _ in site.stored()}
    run_to_the_end(allocator, T0 + 26 * HOUR_NS + GRACE_NS)
    [unknown] = [hour for hour, _ in site.stored() if (hour.fleet, hour.hour) == ("scales", HOUR + 1)]
    assert unknown.rent is None
    assert "Prometheus did not answer" in unknown.note
    site.costs.put_engine_hours([reading(HOUR + 1, runs=((T0 + HOUR_NS, 2),)), reading(HOUR + 1, "gone")])
    allocator.observe_readings([("scales", HOUR + 1), ("gone", HOUR + 1)])
    assert allocator.step(T0 + 26 * HOUR_NS + GRACE_NS) == 1
    [known] = [hour for hour, _ in site.stored() if (hour.fleet, hour.hour) == ("scales", HOUR + 1)]
    assert known.rent == 6_000_000_000


def test_a_fleet_runs_when_its_file_says_so(here: Site) -> None:
    extra = SCALES.replace('"prometheus"', '"runs.csv"') + SCALES.replace("scales", "silent").replace('"prometheus"', '"other.csv"')
    (here.folder / "runs.csv").write_text("start,end,count\n")
    (here.folder / "other.csv").write_text("start,end,count\n")
    here.configured(extra)
    here.take(call("a", 0))
    run_to_the_end(here.allocator(scales=((T0 + 15 * MINUTE, 2), (T0 + 45 * MINUTE, 0))), T0 + 25 * HOUR_NS)
    rents = {hour.fleet: hour for hour, _ in here.stored()}
    assert rents["scales"].rent == 3_000_000_000
    assert (rents["silent"].rent, "other.csv` tells nothing" in rents["silent"].note) == (None, True)


def test_an_hour_waits_for_its_file_and_is_done_again_when_that_changes(here: Site) -> None:
    here.configured(SCALES.replace('"prometheus"', '"runs.csv"'))
    here.take(call("a", 0, fleet="scales"))
    told: list[str] = []
    file, runs = here.folder / "runs.csv", runs_of(here.settings, told.append)
    allocator = Allocator(here.settings, here.store, here.costs, runs)

    def rents() -> dict[int, int | None]:
        return {hour.hour - HOUR: hour.rent for hour, _ in here.stored() if hour.fleet == "scales"}

    run_to_the_end(allocator, T0 + 3 * HOUR_NS)
    assert (rents(), len(told)) == ({}, 1), "no file: it waits, and says so once"
    file.write_text(f"start,end,count\n{when(0)},{when(1)},2\n")
    run_to_the_end(allocator, T0 + 3 * HOUR_NS + MINUTE)
    assert rents() == {0: 6_000_000_000}
    run_to_the_end(allocator, T0 + 26 * HOUR_NS + GRACE_NS)
    assert rents() == {0: 6_000_000_000, 1: None}
    file.write_text(f"start,end,count\n{when(0)},{when(1)},3\n{when(1)},{when(30)},1\n")
    run_to_the_end(allocator, T0 + 26 * HOUR_NS + GRACE_NS + MINUTE)
    assert (rents()[0], rents()[1], len(rents())) == (9_000_000_000, 3_000_000_000, 26)
    before = here.stored()
    file.write_text("start,end,count\nnonsense\n")
    run_to_the_end(allocator, T0 + 26 * HOUR_NS + GRACE_NS + 2 * MINUTE)
    assert here.stored() == before, "what was known once stays, whatever becomes of the file"
    assert "runs.csv: row 2" in told[-1]
    file.write_text(f"start,end,count\n{when(0)},{when(30)},1\n")
    run_to_the_end(Allocator(here.settings, here.store, here.costs, runs_of(here.settings)), T0 + 26 * HOUR_NS + GRACE_NS)
    assert set(rents().values()) == {3_000_000_000}, "also when it changed while nobody looked"
    assert_every_dollar_once(here.stored())


def when(hour: int) -> str:
    return datetime.fromtimestamp((HOUR + hour) * 3_600, UTC).isoformat()


def test_a_rent_that_was_unknown_is_looked_at_again_by_the_next_controller(here: Site) -> None:
    priceless = '[fleets.new]\nupstream = "other"\ngpu = "H100"\n'
    here.configured(priceless)
    here.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    run_to_the_end(here.allocator(), now)
    assert {hour.rent for hour, _ in here.stored() if hour.fleet == "new"} == {None}
    watched = Watched(here.costs)
    assert run_to_the_end(here.allocator(watched), now) == 0, "still unknown: nothing is done again"
    here.configured(priceless + 'price = "2 USD/gpu-hour"\n')
    run_to_the_end(here.allocator(), now)
    assert {hour.rent for hour, _ in here.stored() if hour.fleet == "new"} == {2_000_000_000}
    assert ordered(here.stored()) == ordered(here.pieces(T0, T0 + 5 * HOUR_NS))


class Racing(Watched):
    """Somebody takes records in, or allocates, between the look at the ledger and the writing of what came of it."""

    def __init__(self, costs: CostStore, meanwhile: Callable[[], object]) -> None:
        super().__init__(costs)
        self._meanwhile = [meanwhile]

    def put_fleet_hours(self, hours: Sequence[FleetHour], allocations: Sequence[Allocation], answered: Sequence[Mark] = ()) -> None:
        if self._meanwhile:
            self._meanwhile.pop()()
        super().put_fleet_hours(hours, allocations, answered)


def test_what_is_taken_in_while_its_hour_closes_is_allocated(site: Site) -> None:
    site.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    allocator = site.allocator(Racing(site.costs, lambda: site.take(call("between", 100, 30))))
    run_to_the_end(allocator, now)
    assert "between" not in {share.request_id for _, shares in site.stored() for share in shares}
    run_to_the_end(allocator, now + MINUTE)
    assert ordered(site.stored()) == ordered(site.pieces(T0, T0 + 5 * HOUR_NS))


def test_a_slower_host_does_not_undo_what_another_allocated(site: Site) -> None:
    site.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    other = site.allocator()

    def meanwhile() -> None:
        site.take(call("between", 100, 30))
        run_to_the_end(other, now)

    slow = site.allocator(Racing(site.costs, meanwhile))
    run_to_the_end(slow, now)
    run_to_the_end(other, now + MINUTE)
    assert ordered(site.stored()) == ordered(site.pieces(T0, T0 + 5 * HOUR_NS))


def test_what_comes_late_opens_no_hour_in_which_it_did_nothing(here: Site) -> None:
    here.take(*TRAFFIC)
    now, watched = T0 + 6 * HOUR_NS, Watched(here.costs)
    allocator = here.allocator(watched)
    run_to_the_end(allocator, now)
    here.take(call("early", 20), call("late", 250))
    run_to_the_end(allocator, now + MINUTE)
    assert watched.hours[1:] == [[("l40s", HOUR)], [("l40s", HOUR + 4)]]


def test_a_clock_that_is_wrong_does_not_begin_the_ledger(here: Site) -> None:
    here.take(*TRAFFIC, call("1970", -T0 / MINUTE))
    now = T0 + 6 * HOUR_NS
    watched = Watched(here.costs)
    run_to_the_end(here.allocator(watched), now)
    assert [hour.hour for hour, _ in here.stored()] == [HOUR + n for n in range(5)]
    with here.store.snapshot() as snapshot:
        ledger = Ledger(snapshot)
        assert (ledger.begin, ledger.strays, snapshot.costs.late()) == (T0, 1, [])


def test_a_recorded_run_bears_its_hours_though_it_is_recorded_late(site: Site) -> None:
    site.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    allocator = site.allocator()
    run_to_the_end(allocator, now)
    site.costs.put_entry(training())
    assert allocator.step(now) == 0, "it looks for runs once a minute"
    assert run_to_the_end(allocator, now + MINUTE) == 2
    assert run_to_the_end(allocator, now + 3 * MINUTE) == 0
    assert ordered(site.stored()) == ordered(site.pieces(T0, T0 + 5 * HOUR_NS))
    with site.store.snapshot() as snapshot:
        assert [(share.hour, share.amount) for share in snapshot.costs.allocations("run_1")] == [
            (HOUR + 1, RENT // 2),
            (HOUR + 2, RENT // 2),
        ]
    assert_every_dollar_once(site.stored())


def test_a_fleet_that_is_added_is_closed_with_its_pool(here: Site) -> None:
    here.take(*TRAFFIC)
    now = T0 + 6 * HOUR_NS
    run_to_the_end(here.allocator(), now)
    here.configured('[fleets.second]\nupstream = "local"\ngpu = "L40S"\nprice = "1 USD/gpu-hour"\n')
    assert {hour.fleet for hour, _ in here.pieces(T0, T0 + HOUR_NS)} == {"l40s", "second"}
    run_to_the_end(here.allocator(), now)
    assert ordered(here.stored()) == ordered(here.pieces(T0, T0 + 5 * HOUR_NS))


def test_hours_whose_records_may_be_sealed_stay_as_they_are(here: Site) -> None:
    here.take(*TRAFFIC)
    run_to_the_end(here.allocator(), T0 + 6 * HOUR_NS)
    here.configured(f'[archive]\nurl = "{here.folder}/archive"\nafter = "2d"\n')
    late = call("late", 100)
    here.take(late)
    run_to_the_end(here.allocator(), T0 + 126 * HOUR_NS)
    assert "late" not in {share.request_id for _, shares in here.stored() for share in shares}
    with here.store.snapshot() as snapshot:
        assert snapshot.costs.late() == [], "nothing is left to be done to them"


def test_without_fleets_or_records_nothing_is_to_be_done(here: Site) -> None:
    assert here.allocator().step(T0) == 0
    here.settings = msgspec.structs.replace(here.settings, fleets={})
    here.take(*TRAFFIC)
    assert here.allocator().step(T0 + 6 * HOUR_NS) == 0
    assert here.pieces(T0, T0 + 6 * HOUR_NS) == []
