"""The split of an hour's rent: nothing lost and nothing made up, for any fleet, any traffic and any cut."""

from fractions import Fraction
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.allocation import (
    Engine,
    Piece,
    Rented,
    Run,
    allocate,
    effective_usd_per_gpu_hour,
    engine_of,
    productive_gpu_ns,
    utilization,
)
from penstock.domain.ledger.entries import HOUR_NS, Allocation, EngineHour, FleetHour, Work
from penstock.domain.ledger.loads import SCALE, loads_in
from penstock.domain.prices.hardware import Rent

HOUR = 491_000
T0 = HOUR * HOUR_NS
SECOND = 10**9
WHOLE = Piece(T0, T0 + HOUR_NS)
USD = 10**9


def work(id: str, *, begin: float = 0, seconds: float = 60, **changes: object) -> Work:
    base = Work(
        id=id,
        admitted_ns=T0 + int(begin * SECOND),
        duration_us=int(seconds * 1_000_000),
        fleet="f",
        model="m",
        input=0,
        output=100,
        answered=True,
    )
    return msgspec.structs.replace(base, **changes)


def rented(usd: int = 2, units: int = 1, **changes: object) -> Rented:
    return msgspec.structs.replace(Rented(rent=Rent(usd * USD, 0, 0, units * HOUR_NS, units * HOUR_NS)), **changes)


def only(fleet: Rented, works: list[Work], runs: tuple[Run, ...] = (), piece: Piece = WHOLE) -> tuple[FleetHour, dict[str, Allocation]]:
    hours, allocations = allocate(piece, {"f": fleet}, works, runs)
    assert len(hours) == 1
    return hours[0], {each.request_id: each for each in allocations}


# --- how busy ----------------------------------------------------------------------------------------------------------------


def test_without_work_all_is_idle() -> None:
    hour, borne = only(rented(), [])
    assert (hour.basis, hour.rent, hour.idle, hour.used, hour.work_gpu_ns, borne) == ("none", 2 * USD, 2 * USD, 0, 0, {})
    assert (hour.hour, hour.since_ns, hour.until_ns, hour.gpu_ns, hour.units_ns) == (HOUR, T0, T0 + HOUR_NS, HOUR_NS, HOUR_NS)


def test_planned_work_says_how_busy_it_was() -> None:
    # 1 output token a second is 3600 in the hour; 900 output and 4500 input at a fifth are half of it
    hour, borne = only(rented(planned=Fraction(1)), [work("a", output=900), work("b", input=4500, output=0)])
    assert (hour.basis, hour.used, hour.idle) == ("planned", USD, USD)
    assert (borne["a"].amount, borne["b"].amount) == (USD // 2, USD // 2)
    assert (borne["a"].input_amount, borne["b"].input_amount) == (0, USD // 2)
    assert borne["a"].gpu_ns == HOUR_NS // 4
    assert hour.work_gpu_ns == HOUR_NS // 2
    assert borne["a"].energy_mj is None


def test_planned_work_is_of_the_units_that_ran() -> None:
    scaled = rented(planned=Fraction(1), units=4)
    assert only(scaled, [work("a", output=3600)])[0].used == USD // 2
    two = allocate(WHOLE, {"f": rented(planned=Fraction(1)), "g": rented(4, planned=Fraction(3))}, [work("a", output=7200)])[0]
    assert [(hour.fleet, hour.used, hour.idle) for hour in two] == [("f", USD, USD), ("g", 2 * USD, 2 * USD)]


def test_a_fleet_that_did_not_run_needs_no_plan() -> None:
    asleep = Rented(rent=Rent())
    hours, _ = allocate(WHOLE, {"f": rented(planned=Fraction(1)), "g": asleep}, [work("a", output=1800)])
    assert [(hour.basis, hour.used, hour.idle) for hour in hours] == [("planned", USD, USD), ("planned", 0, 0)]


@pytest.mark.parametrize("piece", [Piece(T0, T0), Piece(T0 + 1, T0), Piece(T0 - 1, T0 + 1), Piece(T0, T0 + HOUR_NS + 1)])
def test_a_piece_lies_within_one_hour(piece: Piece) -> None:
    with pytest.raises(ValueError, match="within one hour"):
        allocate(piece, {"f": rented()}, [])


def test_more_than_was_planned_is_all_of_it_and_said() -> None:
    hour, _ = only(rented(planned=Fraction(1)), [work("a", output=36_000)])
    assert (hour.used, hour.idle) == (2 * USD, 0)
    assert "raise planned_tokens_per_second" in hour.note


def test_without_a_plan_the_time_in_flight_counts_once() -> None:
    works = [work("a", begin=0, seconds=900), work("b", begin=450, seconds=900), work("c", begin=3150, seconds=900)]
    hour, _ = only(rented(), works)
    assert (hour.basis, hour.used) == ("occupied", 2 * USD * 1800 // 3600)
    assert only(rented(), [work("a", begin=-60, seconds=7200)])[0].used == 2 * USD


def test_the_engines_own_meter_goes_first() -> None:
    engine = Engine(active=Fraction(1, 4), active_p95=0.9)
    hour, _ = only(rented(planned=Fraction(1), engine=engine), [work("a")])
    assert (hour.basis, hour.used, hour.active, hour.active_p95) == ("engine", USD // 2, 0.25, 0.9)
    assert only(rented(engine=Engine(active=Fraction(3))), [work("a")])[0].used == 2 * USD


def test_a_meter_that_contradicts_the_ledger_is_named() -> None:
    served, _ = only(rented(planned=Fraction(1), engine=Engine(active=Fraction(0))), [work("a", output=1800)])
    assert (served.basis, served.used) == ("planned", USD)
    assert "its meters show no work" in served.note
    foreign, _ = only(rented(engine=Engine(active=Fraction(1, 2))), [])
    assert (foreign.basis, foreign.idle) == ("none", 2 * USD)
    assert "for no request or run that is known here" in foreign.note


# --- who bears it ------------------------------------------------------------------------------------------------------------


def test_failed_work_and_failed_tries_are_waste() -> None:
    works = [
        work("failed", answered=False, output=100),
        work("ok", output=200, wasted=(("f", 500, 0), ("elsewhere", 9_999, 9_999))),
        work("api", fleet=None, model="gpt", output=7_777, wasted=(("f", 0, 100),)),
        work("other", fleet="g", output=5_555),
    ]
    hour, borne = only(rented(10, engine=Engine(active=Fraction(1, 2))), works)
    assert (hour.used, hour.waste, hour.idle) == (2 * USD, 3 * USD, 5 * USD)
    assert {id: (each.amount, each.wasted) for id, each in borne.items()} == {
        "api": (0, USD),
        "failed": (0, USD),
        "ok": (2 * USD, USD),
    }
    assert hour.requests == 3


def test_models_weigh_by_the_engines_seconds() -> None:
    # `big` decodes 100 tokens in 30 s and prefills 300 in 15 s, `small` decodes 300 in 10 s and prefills 100 in 5 s
    engine = Engine(
        active=Fraction(1),
        prefill_s={"engine-big": Fraction(15), "small": Fraction(5)},
        decode_s={"engine-big": Fraction(30), "small": Fraction(10)},
        names={"big": "engine-big"},
    )
    works = [
        work("a", model="big", input=100, output=100),
        work("b", model="big", input=200, output=0),
        work("c", model="small", input=100, output=300),
    ]
    hour, borne = only(rented(60, engine=engine), works)
    assert hour.note == ""
    assert {id: round(each.amount / USD, 6) for id, each in borne.items()} == {"a": 35, "b": 10, "c": 15}
    assert {id: round(each.input_amount / USD, 6) for id, each in borne.items()} == {"a": 5, "b": 10, "c": 5}


def test_a_part_of_an_hour_weighs_by_the_seconds_of_all_of_it() -> None:
    # of `big` 900 of 1000 tokens come later in the hour: what this piece bears of it is a tenth of its seconds
    engine = Engine(active=Fraction(1), prefill_s={}, decode_s={"big": Fraction(100), "small": Fraction(10)})
    works = [work("a", model="big", output=100), work("b", model="small"), work("late", model="big", begin=1800, output=900)]
    hour, borne = only(rented(20, engine=engine), works, piece=Piece(T0, T0 + HOUR_NS // 2))
    assert {id: round(each.amount / USD, 6) for id, each in borne.items()} == {"a": 10, "b": 10}
    assert hour.requests == 2


def test_a_model_that_is_not_measured_makes_all_weigh_by_tokens() -> None:
    engine = Engine(active=Fraction(1), prefill_s={"big": Fraction(15)}, decode_s={"big": Fraction(30)})
    hour, borne = only(rented(engine=engine), [work("a", model="big"), work("b", model="small")])
    assert borne["a"].amount == borne["b"].amount == USD
    assert hour.note == "split by tokens: its engine tells no seconds of model `small`"
    nameless = only(rented(engine=engine), [work("a", model=None)])[0]
    assert nameless.note == "split by tokens: its engine tells no seconds of model `unknown`"


def test_tries_of_a_model_that_is_not_measured_weigh_as_the_mean() -> None:
    engine = Engine(active=Fraction(1), prefill_s={}, decode_s={"m": Fraction(10)})
    hour, borne = only(rented(3, engine=engine), [work("a", output=200), work("b", fleet=None, model="gpt", wasted=(("f", 0, 100),))])
    assert hour.note == ""
    assert (borne["a"].amount, borne["b"].wasted) == (2 * USD, USD)


def test_where_no_tokens_are_known_time_counts() -> None:
    works = [work("a", output=0, seconds=90), work("b", output=0, seconds=30, answered=False)]
    hour, borne = only(rented(planned=Fraction(1)), works)
    assert hour.basis == "occupied"
    assert (borne["a"].amount, borne["b"].wasted) == (37_500_000, 12_500_000), "2 USD x 90 s / 3600 s, three to one"
    instants = [work(name, output=0, seconds=0) for name in "ab"]
    _, even = only(rented(engine=Engine(active=Fraction(1, 2))), instants)
    assert [each.amount for each in even.values()] == [USD // 2, USD // 2]


def test_energy_is_split_as_the_money_and_spread_over_the_hour() -> None:
    engine = Engine(active=Fraction(1, 2), energy_j=3600)
    hour, borne = only(rented(engine=engine), [work("a"), work("b", output=300)])
    assert hour.energy_j == 3600
    assert {id: each.energy_mj for id, each in borne.items()} == {"a": 450_000, "b": 1_350_000}, "idle keeps its half"
    part, _ = only(rented(engine=engine), [work("a")], piece=Piece(T0, T0 + HOUR_NS // 4))
    assert part.energy_j == 900


def test_unallocated_and_unused_rent_stays_apart() -> None:
    fleet = Rented(rent=Rent(2 * USD, 3 * USD, 4 * USD, HOUR_NS, HOUR_NS), planned=Fraction(1), note="as told")
    hour, _ = only(fleet, [work("a", output=1800)])
    assert (hour.rent, hour.used, hour.idle, hour.unused, hour.unallocated) == (9 * USD, USD, USD, 3 * USD, 4 * USD)
    assert hour.note == "as told"


def test_an_unknown_rent_is_not_split() -> None:
    pool = {"f": Rented(rent=None, note="it has no price per hour"), "g": rented()}
    hours, borne = allocate(WHOLE, pool, [work("a", seconds=1800)])
    assert (hours[0].rent, hours[0].note, hours[0].requests) == (None, "it has no price per hour", 1)
    assert [(each.fleet, each.amount) for each in borne] == [("g", USD)]


# --- recorded runs -----------------------------------------------------------------------------------------------------------


def run(id: str = "r", **changes: object) -> Run:
    return msgspec.structs.replace(Run(id=id, fleet="f", units=Fraction(1), since_ns=T0, until_ns=T0 + HOUR_NS), **changes)


def test_runs_take_their_units_first() -> None:
    hour, borne = only(rented(8, units=4, planned=Fraction(1)), [work("a", output=5400)], (run(lost=Fraction(1, 4)),))
    assert (borne["r"].amount, borne["r"].wasted) == (1_500_000_000, 500_000_000)
    assert borne["r"].gpu_ns == HOUR_NS
    assert borne["a"].amount == 3 * USD, "half of the three units that were left"
    assert (hour.used, hour.waste, hour.idle, hour.work_gpu_ns) == (4_500_000_000, 500_000_000, 3 * USD, 5 * HOUR_NS // 2)
    assert (hour.basis, hour.note) == ("planned", "")


def test_runs_may_take_all_and_no_more() -> None:
    pair = (run("a", units=Fraction(3)), run("b", units=Fraction("1.5"), until_ns=T0 + HOUR_NS // 2 * 1))
    hour, borne = only(rented(15, units=2), [work("x")], pair)
    assert {id: each.amount for id, each in borne.items()} == {"a": 12 * USD, "b": 3 * USD}
    assert (hour.idle, hour.note) == (0, "recorded runs took more units than ran")


def test_runs_alone_and_runs_of_others() -> None:
    runs = (run(until_ns=T0 + HOUR_NS // 2), run("other", fleet="g"), run("past", until_ns=T0))
    hour, borne = only(rented(), [], runs)
    assert (hour.basis, hour.used, hour.requests, list(borne)) == ("occupied", USD, 0, ["r"])
    asleep, none = only(Rented(rent=Rent(0, USD, 0, 0, 0)), [], runs)
    assert (asleep.used, asleep.unused, none) == (0, USD, {})
    assert "none of its units ran" in asleep.note


# --- laws --------------------------------------------------------------------------------------------------------------------

tokens = st.integers(0, 10**6)
tries = st.lists(st.tuples(st.sampled_from(["f", "g", "elsewhere"]), tokens, tokens), max_size=2).map(tuple)
models = st.sampled_from(["m", "n", None])
traffic = st.lists(
    st.builds(
        Work,
        id=st.text("abc", min_size=1, max_size=4),
        admitted_ns=st.integers(T0 - HOUR_NS, T0 + 2 * HOUR_NS),
        duration_us=st.one_of(st.just(0), st.integers(0, 7_200_000_000)),
        fleet=st.sampled_from(["f", "g", "elsewhere", None]),
        model=models,
        input=tokens,
        output=tokens,
        answered=st.booleans(),
        wasted=tries,
    ),
    max_size=12,
    unique_by=lambda each: each.id,
)
seconds = st.dictionaries(st.sampled_from(["m", "n"]), st.fractions(0, 4000), max_size=2)
engines = st.none() | st.builds(
    Engine,
    active=st.none() | st.fractions(0, 2),
    prefill_s=seconds,
    decode_s=seconds,
    energy_j=st.none() | st.integers(0, 10**7),
)
amounts = st.one_of(st.just(0), st.integers(0, 10**13))
rents = st.builds(Rent, amounts, amounts, amounts, st.integers(0, 8 * HOUR_NS), st.one_of(st.just(0), st.integers(1, 8 * HOUR_NS)))
rented_fleets = st.builds(Rented, rent=st.none() | rents, planned=st.none() | st.fractions("0.01", 10_000), engine=engines)
pools = st.dictionaries(st.sampled_from(["f", "g"]), rented_fleets, min_size=1)
pieces = st.lists(st.integers(0, HOUR_NS), min_size=2, max_size=2, unique=True).map(lambda ends: Piece(T0 + min(ends), T0 + max(ends)))
instants = st.integers(T0 - HOUR_NS, T0 + 2 * HOUR_NS)
recorded = st.lists(
    st.builds(
        Run,
        id=st.text("xyz", min_size=1, max_size=3),
        fleet=st.sampled_from(["f", "g"]),
        units=st.fractions(0, 6, max_denominator=100),
        since_ns=instants,
        until_ns=instants,
        lost=st.fractions(0, 1, max_denominator=100),
    ),
    max_size=3,
    unique_by=lambda each: each.id,
)


@given(st.just(WHOLE) | pieces, pools, traffic, recorded)
def test_every_nano_of_the_rent_is_on_one_line(piece: Piece, pool: dict[str, Rented], works: list[Work], runs: list[Run]) -> None:
    hours, borne = allocate(piece, pool, works, runs)
    assert [hour.fleet for hour in hours] == sorted(pool)
    assert len({(each.fleet, each.request_id) for each in borne}) == len(borne)
    for hour in hours:
        mine = [each for each in borne if each.fleet == hour.fleet]
        paid = pool[hour.fleet].rent
        if paid is None:
            assert (hour.rent, mine) == (None, [])
            continue
        assert hour.rent == paid.total == hour.used + hour.waste + hour.idle + hour.unallocated + hour.unused
        assert min(hour.used, hour.waste, hour.idle) >= 0
        assert (hour.unallocated, hour.unused, hour.gpu_ns) == (paid.unallocated, paid.unused, paid.gpu_ns)
        assert hour.used == sum(each.amount for each in mine)
        assert hour.waste == sum(each.wasted for each in mine)
        assert hour.work_gpu_ns == sum(each.gpu_ns for each in mine) <= hour.gpu_ns
        for each in mine:
            assert each.amount >= each.input_amount >= 0
            assert min(each.wasted, each.gpu_ns, each.energy_mj or 0) >= 0
            assert each.hour == piece.hour
            assert each.amount or each.wasted or each.gpu_ns or each.energy_mj
        energy = pool[hour.fleet].engine
        known = energy is not None and energy.energy_j is not None
        assert all((each.energy_mj is not None) == known for each in mine)
        if hour.energy_j is not None:
            assert sum(each.energy_mj or 0 for each in mine) <= (hour.energy_j + 1) * 1000


@given(st.just(WHOLE) | pieces, pools, traffic, recorded, st.randoms(use_true_random=False))
def test_the_order_of_what_came_does_not_matter(
    piece: Piece, pool: dict[str, Rented], works: list[Work], runs: list[Run], random: object
) -> None:
    before = allocate(piece, pool, works, runs)
    random.shuffle(works)  # type: ignore[attr-defined]
    random.shuffle(runs)  # type: ignore[attr-defined]
    assert allocate(piece, dict(reversed(pool.items())), works, runs) == before


@given(traffic, st.lists(st.integers(T0 - 2 * HOUR_NS, T0 + 5 * HOUR_NS), max_size=6))
def test_the_parts_of_requests_that_span_hours_add_up(works: list[Work], cuts: list[int]) -> None:
    marks = sorted([T0 - 2 * HOUR_NS, *cuts, T0 + 6 * HOUR_NS])
    whole = {load.id: load for load in loads_in(works, {"f", "g"}, marks[0], marks[-1])}
    sums = {id: [0, 0, 0, 0, 0] for id in whole}
    for begin, end in pairwise(marks):
        for load in loads_in(works, {"f", "g"}, begin, end):
            each = (load.input, load.output, load.wasted_input, load.wasted_output, load.end_ns - load.begin_ns)
            sums[load.id] = [total + part for total, part in zip(sums[load.id], each, strict=True)]
    for id, load in whole.items():
        every = [load.input, load.output, load.wasted_input, load.wasted_output, load.end_ns - load.begin_ns]
        assert sums[id] == every
    ours = {each.id: each for each in works if each.fleet in ("f", "g") and each.answered}
    assert all(whole[id].output == each.output * SCALE for id, each in ours.items())


# --- what is read off it -----------------------------------------------------------------------------------------------------


def test_the_effective_gpu_hour_is_all_rent_over_productive_time() -> None:
    # 3.50 USD an hour at 15 % use costs 23.33 USD per hour of work
    rent = Rent(3_500_000_000, 0, 0, HOUR_NS, HOUR_NS)
    hour, _ = only(Rented(rent=rent, engine=Engine(active=Fraction(15, 100))), [work("a")])
    assert effective_usd_per_gpu_hour([hour]) == Fraction("3.5") / Fraction("0.15")
    assert utilization([hour]) == Fraction(15, 100)
    half, _ = only(Rented(rent=rent, engine=Engine(active=Fraction(3, 10))), [work("a"), work("b", answered=False)])
    assert productive_gpu_ns(half) == HOUR_NS * 15 // 100
    assert effective_usd_per_gpu_hour([hour, half]) == Fraction("3.5") / Fraction("0.15")
    idle, _ = only(rented(), [])
    assert effective_usd_per_gpu_hour([idle]) is None
    assert effective_usd_per_gpu_hour([hour, msgspec.structs.replace(hour, rent=None)]) is None
    assert utilization([]) is None


def test_free_hardware_has_productive_time_as_well() -> None:
    hour, _ = only(Rented(rent=Rent(0, 0, 0, HOUR_NS, HOUR_NS), engine=Engine(active=Fraction(1, 2))), [work("a")])
    assert productive_gpu_ns(hour) == HOUR_NS // 2
    assert effective_usd_per_gpu_hour([hour]) == 0


@pytest.mark.parametrize("nothing", [float("nan"), float("inf"), -0.5])
def test_readings_that_tell_nothing_are_left_out(nothing: float) -> None:
    reading = EngineHour(fleet="f", hour=HOUR, active=nothing, prefill_s={"m": nothing, "n": 1.5}, decode_s={"m": 2.0}, energy_j=7)
    engine = engine_of(reading, {"alias": "n"})
    assert engine.active is None
    assert (engine.prefill_s, engine.decode_s, engine.energy_j) == ({"n": Fraction(3, 2)}, {"m": Fraction(2)}, 7)
    assert engine.names == {"alias": "n"}
    assert engine_of(EngineHour(fleet="f", hour=HOUR, active=1.2)).active == 1
