"""The accounting that the forecaster is judged by, and its files."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.autoscale import RatesError, answer, bars_of, compare, rates_of
from bench.autoscale_baselines import forecast, reactive, sees
from bench.autoscale_judge import Rates, judge, turned
from penstock.domain.simulation.scaling.forecasting import FIRST

TRACE = Rates("made", tuple(600.0 * at for at in range(6)), (10, 20, 40, 40, 10, 20), 600.0)


def test_cost_lateness_and_reversals_by_hand() -> None:
    told = judge(TRACE, [1, 2, 3, 4, 4, 2], 10)
    # 20 and 30 stood for 180 s of the second and third window where 20 and 40 came; then 30 of 40
    assert told.cost == 16 / 14
    assert told.over == pytest.approx((0.3 * 10 + 0.3 * 20 + 0.7 * 10 + 0.3 * 10) / 140)
    assert told.over_at_once == 10 / 140
    assert told.reversals_per_hour == 1 and told.most_reversals == 1


def test_standing_still_is_no_turn() -> None:
    assert [at for at, turns in enumerate(turned([1, 2, 2, 3, 3, 2, 2, 2, 3, 1])) if turns] == [5, 8, 9]


def test_baselines_know_what_they_say_they_know() -> None:
    assert reactive(TRACE, 10, 1.3) == [FIRST, 2, 3, 6, 6, 2]
    assert reactive(TRACE, 10, 1.0, hold_s=1800)[3:] == [4, 4, 4]
    assert sees(TRACE, 10) == [1, 2, 4, 4, 1, 2]


def test_an_answer_has_a_row_for_each_window(tmp_path: Path) -> None:
    file, out = tmp_path / "made_rates.csv", tmp_path / "out.csv"
    rows = [f"{start:g},{rate},3" for start, rate in zip(TRACE.start_s, TRACE.rps, strict=True)]
    file.write_text("\n".join(["window_start_s,rate_rps,active_clients", *rows]))
    assert rates_of(file) == TRACE
    answer(file, 10, out, as_json=True)
    heading, *answered = out.read_text().splitlines()
    assert heading == "window_start_s,replicas"
    assert [line.split(",") for line in answered] == [
        [f"{start:g}", str(count)] for start, count in zip(TRACE.start_s, forecast(TRACE, 10), strict=True)
    ]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("0,5\n600,-1", "row 3: -1.0 is no rate"),
        ("0,5\n600,nan", "row 3"),
        ("0,5\n0,5", "row 3: windows must be in order"),
        ("0,five", "row 2: window_start_s and rate_rps"),
        ("", "has no rows"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, rows: str, problem: str) -> None:
    file = tmp_path / "bad_rates.csv"
    file.write_text(f"window_start_s,rate_rps\n{rows}")
    with pytest.raises(RatesError, match=problem):
        rates_of(file)


def test_bars_are_of_whole_traces_at_their_worst() -> None:
    found = compare([Rates("flat", tuple(600.0 * at for at in range(200)), (100.0,) * 200, 600.0)])
    worst = {bar["bar"]: bar["worst"] for bar in bars_of(found["traces"])}
    assert worst["share of requests over capacity"] > 0  # 32 replicas are too few at first for a fleet of 40
    assert 1 <= worst["cost over a perfect forecast"] < 1.15 and worst["traces and sizes where it loses to reactive x1.3"] == 0


def test_without_data_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "bench.autoscale", "--data", str(tmp_path)], capture_output=True, text=True, check=True)
    assert not done.stdout and "skipped: no traces" in done.stderr
