"""The simulator's bench: what is replayed, what is compared, and that it tells."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.simulator import BUSY, REPLICA, bars, repeated
from penstock.domain.simulation.demand import speed
from tests.unit.simulation.fleets import random_trace

LINES = ["arrival_s,input_tokens,output_tokens", *(f"{number / 4},{100 + number % 7 * 300},{5 + number % 90}" for number in range(60))]


def test_a_trace_is_repeated_with_new_prefixes_at_the_rate_of_the_fleet() -> None:
    known = random_trace(1, 50, 10, 500, 50, block_tokens=64)
    long = repeated(known, 120, 4)
    assert long.requests == 120 and len(long.block_start) == 121 and long.block_start[-1] == len(long.blocks)
    assert long.input_tokens[50:100].tolist() == known.input_tokens.tolist()
    assert not set(long.blocks[: long.block_start[50]]) & set(long.blocks[long.block_start[50] :])
    assert np.diff(long.block_start)[100:].tolist() == np.diff(known.block_start)[:20].tolist()
    assert 100 / long.arrival_s[99] == pytest.approx(BUSY * 4 * speed(REPLICA, known))
    assert (np.diff(long.arrival_s) >= 0).all()


def test_a_bar_that_is_missed_says_so() -> None:
    run = {"cpu_s": 7.0, "peak_rss_mb": 100}
    found = bars([{"runs": [run], "exact": {"ttft_p99_error": 0.06}}], 100_000)
    assert [bar["met"] for bar in found.values()] == [False, True, False] and found["cpu_s_of_a_million"]["reached"] == 70.0


def test_the_command_prints_figures_and_agrees_with_the_oracle(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("\n".join(LINES))
    command = [sys.executable, "-m", "bench.simulator", "--requests", "300", "--trace", str(trace), "--replicas", "2", "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = told["traces"][0]
    assert found["runs"][0]["served"] == 300 and found["runs"][0]["replicas"] == 2
    assert found["exact"]["furthest_apart_s"] < 1e-6 and found["exact"]["same_fate"]
    assert told["bars"]["ttft_p99_error"]["met"]
