"""The recommender's arithmetic by hand: loads that keep an objective, what instances cost whole, and the order of rows."""

from collections.abc import Sequence
from datetime import date
from fractions import Fraction
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from penstock.adapters.feeds.catalogue import accelerators
from penstock.capacity.measuring.points import Point, Spread
from penstock.capacity.measuring.sagemaker import SageMakerResult
from penstock.capacity.recommended import Requests, Row
from penstock.capacity.recommending import (
    LOADS,
    Latency,
    Range,
    Rented,
    Tails,
    best_reachable,
    imported,
    measured,
    ranked,
    tails_of,
)
from penstock.capacity.recommending import predicted as predicted_rows
from penstock.domain.simulation.slo import Objective
from penstock.domain.sizing.accelerators import find
from penstock.domain.sizing.candidates import Candidate
from penstock.domain.sizing.costs import Rent
from penstock.domain.sizing.formats import find_format
from penstock.domain.sizing.memory import Fit

DAY = date(2026, 11, 22)
DEMAND = Requests(input_tokens=100, output_tokens=101)
SLOW = Objective("tpot", 95, 0.05)
FAST = Objective("ttft", 95, 0.2)


def rent(usd: str = "8", gpus: int = 8, **more: Any) -> Rent:
    known: dict[str, Any] = {"provider": "p", "instance": f"i{gpus}", "kind": "on-demand", "region": "r", "date": DAY}
    return Rent(gpus=gpus, usd_per_hour=Fraction(usd), **(known | more))


def line(concurrency: int) -> Latency:
    """10 ms a token and one more for each in flight, 20 % either way; the first token 100 ms, always."""
    tpot = 10.0 + concurrency
    return Latency(Range(90, 100, 110), Range(0.8 * tpot, tpot, 1.2 * tpot))


def candidate(devices: int = 2, fitting: int = 1000, rents: tuple[Rent, ...] = (rent(),)) -> Rented:
    held = Fit(
        accelerator="H100-80GB", tensor_parallel=devices, mig=None, weights_bytes=1, reserve_bytes=1, usable_bytes=1, room_bytes=1,
        kv_tokens=1, requests=fitting, holds=True, why=None,
    )  # fmt: skip
    made = Candidate(
        accelerator=find("H100-80GB", accelerators()),
        slice=None,
        format=find_format("fp8"),
        kernels="native",
        fit=held,
        why=None,
        offer=None,
    )
    return Rented(made, rents)


def a_point(concurrency: int, ttft: float, tpot: float, **more: Any) -> Point:
    e2e = ttft + 100 * tpot
    known: dict[str, Any] = {
        "concurrency": concurrency, "input_tokens": 100.0, "output_tokens": 101.0, "requests": 20, "seconds": 10.0,
        "ttft_ms": Spread(ttft, ttft, 2 * ttft, 3 * ttft), "tpot_ms": Spread(tpot, tpot, 1.5 * tpot, 2 * tpot),
        "e2e_ms": Spread(e2e, e2e, e2e, e2e), "output_tokens_per_s": 101_000 * concurrency / e2e,
        "requests_per_minute": 60_000 * concurrency / e2e,
    }  # fmt: skip
    return Point(**(known | more))


def predicted(one: Rented, demand: Requests, targets: Sequence[Objective], tails: Tails) -> list[Row]:
    return predicted_rows([one], lambda asked: [line(load) for _, load in asked], demand, targets, tails)


def test_the_heaviest_load_within_the_objective_by_hand() -> None:
    (row,) = predicted(candidate(), DEMAND, (SLOW,), Tails({"tpot_p95": 1.0}))
    assert row.concurrency == 32  # 42 ms; 45 in flight would take 55
    assert (row.ttft_ms, row.tpot_ms, row.e2e_ms) == (100.0, 42.0, 4300.0)
    assert row.requests_per_minute == pytest.approx(60 * 32 / 4.3)
    assert row.usd_per_request is not None and row.usd_per_million_output is not None
    assert row.usd_per_hour == 2
    assert float(row.usd_per_request) == pytest.approx(2 / 60 / (60 * 32 / 4.3))
    assert float(row.usd_per_million_output) == pytest.approx(2 / 3600 / (32 * 101 / 4.3) * 1e6)
    assert row.usd_per_million_low is not None and row.usd_per_million_high is not None
    assert row.usd_per_million_low < row.usd_per_million_output < row.usd_per_million_high
    assert (row.keeps, row.sure, row.misses) == (True, False, ())  # 42 may be 50.4


def test_without_a_measured_tail_the_upper_end_of_the_band_decides() -> None:
    (row,) = predicted(candidate(), DEMAND, (SLOW,), Tails())
    assert row.concurrency == 23
    assert row.tpot_ms == pytest.approx(1.2 * 33)
    assert row.sure


def test_memory_bounds_the_load() -> None:
    assert predicted(candidate(fitting=5), DEMAND, (SLOW,), Tails())[0].concurrency == 4
    assert predicted(candidate(fitting=0), DEMAND, (SLOW,), Tails()) == []
    assert predicted(candidate(), DEMAND, (), Tails())[0].concurrency == 256, "what an engine runs at once"


def test_an_objective_that_cannot_be_kept_says_by_how_much() -> None:
    rows = predicted(candidate(), DEMAND, (Objective("tpot", 95, 0.005), FAST), Tails({"tpot_p95": 1.0, "ttft_p95": 1.5}))
    (row,) = rows
    assert (row.concurrency, row.keeps, row.sure, row.misses) == (1, False, False, ("tpot_p95 11 ms is over 5 ms",))
    assert best_reachable(rows, (Objective("tpot", 95, 0.005),)) == (
        "the nearest is H100-80GB x2 on i8 of p, predicted",
        "tpot_p95 11 ms is over 5 ms",
    )
    assert best_reachable(rows, ()) == ()


def test_unknown_prices_stay_unknown() -> None:
    (row,) = predicted(candidate(rents=()), DEMAND, (), Tails())
    assert (row.rent, row.usd_per_hour, row.usd_per_request, row.usd_per_million_output, row.usd_per_million_low) == (None,) * 5
    assert ranked([row])[0].rank is None


def test_measured_points_are_judged_as_they_are() -> None:
    points = [a_point(1, 50, 10), a_point(8, 90, 20), a_point(32, 150, 40)]
    (row,) = measured(points, "H100-80GB", 1, "fp8", [rent("4", gpus=1)], DEMAND, (SLOW, FAST))
    assert (row.concurrency, row.ttft_ms, row.tpot_ms) == (8, 180.0, 30.0)  # at 32 the P95 are 300 and 60
    assert row.output_tokens_per_s == pytest.approx(101_000 * 8 / 2090)
    assert row.usd_per_request is not None
    assert float(row.usd_per_request) == pytest.approx(4 / 60 / (60_000 * 8 / 2090))
    assert (row.keeps, row.sure) == (True, True)
    assert measured([], None, 1, None, [], DEMAND, ()) == []


def test_what_was_not_measured_is_not_kept() -> None:
    whole = a_point(1, 50, 10, ttft_ms=None, tpot_ms=None)
    (row,) = measured([whole], None, 1, None, [], DEMAND, (FAST,))
    assert (row.keeps, row.misses, row.usd_per_request) == (False, ("ttft_p95 is not known",), None)
    missed = measured([a_point(8, 500, 10), a_point(1, 300, 10)], None, 1, None, [], DEMAND, (FAST,))
    assert (missed[0].concurrency, missed[0].misses) == (1, ("ttft_p95 600 ms is over 200 ms",))


def test_tails_come_from_points_with_enough_requests() -> None:
    points = [a_point(1, 50, 10), a_point(8, 90, 20), a_point(16, 90, 20, requests=19, ttft_ms=Spread(1, 1, 50, 50))]
    tails = tails_of(points, (SLOW, FAST, Objective("ttft", 99, 0.001), Objective("e2e", 50, 0.001)))
    assert tails.ratios == {"tpot_p95": 1.5, "ttft_p95": 2.0, "ttft_p99": 3.0, "e2e_p50": 1.0}
    assert tails_of([a_point(1, 1, 1, requests=3)], (SLOW,)).ratios == {}


def test_sagemakers_rows_know_whole_answers_only() -> None:
    known = SageMakerResult(
        instance="ml.g5.xlarge", instances=1, endpoint=None, invocations_per_minute=600, latency_ms=400.0, usd_per_hour=Fraction("1.408")
    )
    mine = msgspec.structs.replace(known, instance=None, endpoint="mine", usd_per_hour=None)
    first, second = imported([known, mine], Requests(input_tokens=1, output_tokens=1, per_minute=1500.0), (Objective("e2e", 95, 0.5),), DAY)
    assert (first.keeps, first.replicas, first.instances, first.usd_per_hour) == (True, 3, 3, Fraction("4.224"))
    assert (second.keeps, second.rent, second.usd_per_request, second.replicas) == (True, None, None, 3)
    (untold,) = imported([known], DEMAND, (FAST,), DAY)
    assert (untold.keeps, untold.sure, untold.misses) == (None, False, ())
    (missed,) = imported([known], DEMAND, (FAST, Objective("e2e", 95, 0.1)), DAY)
    assert (missed.keeps, missed.misses) == (False, ("e2e_p95 400 ms is over 100 ms",))


def test_rows_are_ranked_by_cost_and_shown_by_what_they_rest_on() -> None:
    def of(row: Row) -> tuple[str, str | None, int | None]:
        return row.basis, row.rent.instance if row.rent else None, row.rank

    mine = measured(
        [a_point(8, 90, 20)], "A", 1, None, [rent("3", gpus=1, instance="dear"), rent("2", gpus=1, instance="fair")], DEMAND, ()
    )
    cheap = predicted(candidate(rents=(rent("0.1", instance="cheap"), rent("900", instance="mad"))), DEMAND, (), Tails())
    missing = predicted(candidate(rents=(rent("0.01", instance="late"),)), DEMAND, (Objective("tpot", 50, 0.001),), Tails())
    assert [of(row) for row in ranked([*missing, *cheap, *mine])] == [
        ("measured", "fair", 2),
        ("measured", "dear", 3),
        ("predicted", "cheap", 1),
        ("predicted", "mad", 4),
        ("predicted", "late", None),
    ]


def test_loads_are_two_to_an_octave() -> None:
    assert LOADS[0] == 1 and LOADS[-1] == 1024
    assert {2**power for power in range(11)} <= set(LOADS)
    assert all(later / earlier <= 2 for earlier, later in pairwise(LOADS))
