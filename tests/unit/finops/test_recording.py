"""What is told of a run or a cost becomes an exact entry, or is refused with a hint; telling it twice records it once."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.settings import Settings
from penstock.domain.ledger.entries import Close, Entry
from penstock.finops.recording import MOST, Recorded, Recorder, RecordingError, entry_json, entry_of, told_of
from penstock.ports.usage_store import StoreError
from tests.unit.finops.bill_books import DECEMBER, NOVEMBER, OCTOBER, Snapshot, settings_of

HOUR = 3_600 * 10**9
RUN = {"kind": "training-run", "name": "fine-tune", "since": "2026-11-20T08:00:00Z", "until": "2026-11-20T20:00:00Z"}
COST = {"kind": "cost", "name": "labels", "usd": "12.50", "since": "2026-11-20"}


def settings(**tags: Any) -> Settings:
    import msgspec

    given = settings_of()
    return msgspec.structs.replace(given, tags=msgspec.structs.replace(given.tags, **tags))


def entry(words: dict[str, Any], **tags: Any) -> Entry:
    return entry_of(told_of(words), settings(**tags), DECEMBER)[0]


def notes(words: dict[str, Any], **tags: Any) -> tuple[str, ...]:
    return entry_of(told_of(words), settings(**tags), DECEMBER)[1]


class Store:
    """A `CostStore` and the reading of it, in memory."""

    def __init__(self, closes: list[Close] | None = None) -> None:
        self.entries: list[Entry] = []
        self.closes = closes or []

    def put_entry(self, entry: Entry) -> bool:
        if any(each.id == entry.id for each in self.entries):
            raise StoreError("taken", "another id")
        self.entries.append(entry)
        return True

    @contextmanager
    def reading(self) -> Iterator[tuple[Any, Any]]:
        yield Snapshot([], self.entries, self.closes), None

    def record(self, words: dict[str, Any], now_ns: int = DECEMBER, **more: Any) -> Recorded:
        return Recorder(settings(), self.reading, lambda: self, lambda: now_ns)(told_of(words), **more)  # type: ignore[arg-type,return-value]


def test_a_rented_run_costs_hours_times_price_to_the_nano() -> None:
    made = entry(RUN | {"gpus": "8", "gpu_price": "2.345678901", "storage": "3.1", "transfer": "0.000000001"})
    assert made.gpu_cost == 96 * 2_345_678_901
    assert (made.storage_cost, made.transfer_cost) == (3_100_000_000, 1)
    assert made.until_ns - made.since_ns == 12 * HOUR
    assert (made.kind, made.gpus, made.gpu_hours) == ("training_run", "8", None)


def test_hours_that_are_told_go_before_gpus_times_time() -> None:
    assert entry(RUN | {"gpus": 8, "gpu_hours": "90.5", "gpu_price": 2}).gpu_cost == 181 * 10**9


def test_people_cost_hours_times_rate() -> None:
    assert entry(RUN | {"gpus": 0, "engineering_hours": "1.5", "engineering_rate": "95"}).engineering_cost == 142_500_000_000


def test_what_nobody_said_is_unknown_and_never_nothing() -> None:
    made = entry(RUN | {"gpus": 8, "storage": 1})
    assert made.gpu_cost is None
    assert made.cost is None
    assert entry_json(made)["cost_usd"] is None
    assert "unknown" in notes(RUN | {"gpus": 8})[0]
    assert entry(RUN | {"gpus": 0}).cost == 0


def test_a_run_on_an_own_fleet_adds_nothing_to_its_rent() -> None:
    made = entry(RUN | {"fleet": "l40s", "gpus": "1", "lost_gpu_hours": "2"})
    assert (made.fleet, made.gpu_cost, made.lost_gpu_hours) == ("l40s", 0, "2")
    assert "rent of fleet l40s" in notes(RUN | {"fleet": "l40s", "gpus": 1})[0]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": "  "}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"id": "a b"}, "not an id"),
        ({"since": "2026-11-21", "until": "2026-11-20"}, "ends before it begins"),
        ({"until": None}, "`since` and `until`"),
        ({"since": "yesterday"}, "yesterday"),
        ({"until": "2027-01-01"}, "in the future"),
        ({"fleet": "l40", "gpus": 1}, "no fleet `l40`"),
        ({"fleet": "l40s"}, "how many GPUs"),
        ({"fleet": "l40s", "gpus": 1, "gpu_price": 2}, "count them twice"),
        ({"fleet": "l40s", "gpus": 1, "gpu_cost": 2}, "count them twice"),
        ({"fleet": "l40s", "gpus": 1, "gpu_hours": 13}, "more than"),
        ({"fleet": "l40s", "gpu_hours": 13}, "more than fleet l40s has"),
        ({"gpus": 1, "gpu_hours": "12.001"}, "more than"),
        ({"gpu_price": 2, "gpu_cost": 2, "gpus": 1}, "exclude each other"),
        ({"gpu_price": 2}, "GPU-hours it took"),
        ({"gpu_hours": 3, "lost_gpu_hours": 4}, "cannot be lost"),
        ({"lost_gpu_hours": 4}, "cannot be lost"),
        ({"storage": -1}, "below 0"),
        ({"storage": "0.0000000001"}, "nine decimals"),
        ({"storage": "NaN"}, "not an amount"),
        ({"gpu_hours": "1e99999999"}, "not an amount"),
        ({"gpu_hours": "1e9", "gpu_price": "1e9"}, "more than"),
        ({"engineering_hours": 4}, "belong together"),
        ({"usd": 4}, "no `usd`"),
        ({"tags": {"team": ""}}, "not a tag"),
        ({"tags": {"cost-center": "a", "cost_center": "b"}}, "twice"),
    ],
)
def test_what_cannot_be_so_is_refused_with_a_hint(more: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordingError) as problem:
        entry(RUN | more)
    assert said in str(problem.value)
    assert problem.value.hint


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (RUN | {"gpu_hour": 3}, "gpu_hours"),
        ({"kind": "run", "name": "x"}, "training-run"),
        (RUN | {"storage": True}, "write a number"),
        (b"[1]", "training-run"),
        (b"{", "send an object"),
        (b"\xff", "send an object"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_hint(words: Any, hint: str) -> None:
    with pytest.raises(RecordingError) as problem:
        told_of(words)
    assert hint in problem.value.hint


def test_json_numbers_are_exact() -> None:
    told = told_of(b'{"kind": "cost", "name": "x", "usd": 0.1, "since": "2026-11-20"}')
    assert told.usd == Decimal("0.1")
    assert entry_of(told, settings(), DECEMBER)[0].cost == 100_000_000


def test_a_cost_is_of_a_day_a_month_or_a_time() -> None:
    day = entry(COST)
    assert (day.since_ns, day.until_ns, day.cost) == (day.since_ns, day.since_ns, 12_500_000_000)
    month = entry(COST | {"since": "2026-11"})
    assert (month.since_ns, month.until_ns) == (NOVEMBER, DECEMBER)
    assert entry(COST | {"since": None}).since_ns == DECEMBER
    assert entry(COST | {"usd": "-3"}).cost == -3 * 10**9


@pytest.mark.parametrize("more", [{"usd": None}, {"fleet": "l40s"}, {"storage": 1}, {"since": "2026-11-20", "until": "2026-11-20"}])
def test_a_cost_is_an_amount_and_nothing_else(more: dict[str, Any]) -> None:
    with pytest.raises(RecordingError):
        entry(COST | more)


def test_tags_are_normal_and_kept_in_the_allowed_spelling() -> None:
    made = entry(RUN | {"tags": {"Cost-Center": "7", "SLA-Tier": "Best-Effort", "model-name": "7b"}}, allowed={"sla": ("best_effort",)})
    assert made.tags == {"cost_center": "7", "sla": "best_effort", "model": "7b"}
    with pytest.raises(RecordingError, match="may not be"):
        entry(RUN | {"tags": {"sla": "gold"}}, allowed={"sla": ("best_effort",)})
    assert "lacks the tag team" in notes(RUN | {"gpus": 0}, required=("team",))[-1]


def test_an_id_is_made_from_what_was_told() -> None:
    first = entry(RUN | {"gpus": "8.0", "gpu_price": "2"})
    again = entry_of(told_of(RUN | {"gpus": 8, "gpu_price": "2.00"}), settings(), DECEMBER + 1)[0]
    assert first.id == again.id
    assert first.id.startswith("run_")
    assert entry(RUN | {"gpus": 8, "gpu_price": 3}).id != first.id


def test_telling_it_twice_records_it_once() -> None:
    store = Store()
    first, again = store.record(RUN | {"gpus": 0}), store.record(RUN | {"gpus": 0}, DECEMBER + 5)
    assert (first.new, again.new) == (True, False)
    assert again.entry == first.entry
    assert store.entries == [first.entry]


def test_another_content_under_the_same_id_is_refused() -> None:
    store = Store()
    store.record(RUN | {"gpus": 0, "id": "r1"})
    for dry_run in (True, False):
        with pytest.raises(RecordingError, match="another cost was recorded as `r1`") as problem:
            store.record(RUN | {"gpus": 0, "id": "r1", "storage": 1}, dry_run=dry_run)
        assert problem.value.conflict


def test_what_somebody_else_put_meanwhile_is_a_conflict() -> None:
    store = Store()

    class Late(Store):
        def put_entry(self, entry: Entry) -> bool:
            store.entries.append(entry)
            return store.put_entry(entry)

    with pytest.raises(RecordingError) as problem:
        Recorder(settings(), store.reading, Late, lambda: DECEMBER)(told_of(COST))  # type: ignore[arg-type]
    assert problem.value.conflict


def test_a_dry_run_writes_nothing() -> None:
    store = Store()
    assert store.record(COST, dry_run=True).new
    assert store.entries == []


def test_a_closed_month_stays_as_it_is() -> None:
    close = Close(
        number=3,
        month="2026-10",
        timezone="UTC",
        since_ns=OCTOBER,
        until_ns=NOVEMBER,
        closed_ns=NOVEMBER,
        inputs_sha256="",
        total=0,
        bill="",
    )
    store = Store([close])
    for since, until in (("2026-10-31", None), ("2026-10-31", "2026-11-02"), ("2026-09", None), ("2026-10-01", None)):
        if since == "2026-09":
            store.record(COST | {"since": since})
            continue
        with pytest.raises(RecordingError, match="2026-10 is closed as bill 3") as problem:
            store.record(COST | {"since": since, "until": until})
        assert problem.value.conflict
        assert "2026-11-01T00:00:00Z" in problem.value.hint
    assert store.record(COST | {"since": "2026-11-01"}).new


def test_what_was_recorded_before_its_month_closed_is_there() -> None:
    store = Store()
    store.record(COST | {"since": "2026-10-05"})
    store.closes.append(
        Close(
            number=1, month="2026-10", timezone="UTC", since_ns=OCTOBER, until_ns=NOVEMBER, closed_ns=NOVEMBER, inputs_sha256="", total=0,
            bill="",
        )
    )  # fmt: skip
    assert not store.record(COST | {"since": "2026-10-05"}).new


@given(
    gpus=st.decimals(0, 1000, places=3),
    price=st.decimals(0, 100, places=9),
    storage=st.decimals(0, 1000, places=9),
    hours=st.integers(1, 12),
)
def test_money_is_exact_for_any_amounts(gpus: Decimal, price: Decimal, storage: Decimal, hours: int) -> None:
    words = RUN | {"until": f"2026-11-20T{8 + hours:02}:00:00Z", "gpus": gpus, "gpu_price": price, "storage": storage}
    made = entry(words)
    exact = gpus * hours * price * 10**9
    assert made.gpu_cost is not None
    assert abs(made.gpu_cost - exact) <= Decimal("0.5")
    assert made.storage_cost == storage * 10**9


@given(value=st.decimals(-(10**10), 10**10, places=10) | st.sampled_from(["NaN", "-Infinity", "1E+9999"]).map(Decimal))
def test_any_amount_is_kept_exactly_or_refused(value: Decimal) -> None:
    if not value.is_finite() or abs(value) > MOST or value * 10**9 % 1:
        with pytest.raises(RecordingError):
            entry(COST | {"usd": value})
        return
    assert entry(COST | {"usd": value}).cost == value * 10**9
