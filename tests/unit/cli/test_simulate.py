"""`penstock simulate` without its extra, and what its options mean."""

import importlib.util
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import simulate
from penstock.cli.app import run
from penstock.cli.output import CommandError
from penstock.cli.simulate_planning import SHIELDS, _shield, _spill, _spot
from tests.integration.console_rig import CONFIG

HARDWARE = ("--model", "llama-3.1-8b", "--gpu", "L40S", "--usd-per-hour", "1.80")
MADE = ("--synthetic", "rps=1,input=600,output=80,hours=0.5")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else found(name))
    with pytest.raises(CommandError, match="needs numba") as problem:
        simulate._require()
    assert problem.value.hint == 'pip install "penstock[capacity]"'


def test_the_api_that_takes_spilled_requests() -> None:
    spill = _spill("after=2s,ttft=300ms,input=0.15,output=0.60")
    assert spill is not None and (spill.after_s, spill.ttft_s) == (2.0, 0.3)
    assert spill.prices is not None and (spill.prices.input, spill.prices.output) == (Fraction(3, 20), Fraction(3, 5))
    half = _spill("input=0.15")
    assert half is not None and half.prices is None, "half a price is none"
    words, shield = _shield("cache+spill=0.3", spill)
    assert (words, shield.mode, shield.hit_rate, shield.spill_after_s) == ("cache+spill=0.3", "cache+spill", 0.3, 2.0)


def test_how_often_spot_machines_are_lost() -> None:
    assert _spot("mtbf=6h").mtbf_s == 21_600 and _spot("mtbf=6h").back_s == 600 and _spot("mtbf=1h,back=2m").back_s == 120


@pytest.mark.parametrize(
    ("read", "text"),
    [(_spill, "input=-1,output=2"), (_spill, "input=x,output=2"), (_spill, "soon"), (_spot, "mtbf=0s"), (_spot, "often")],
)
def test_what_means_nothing_is_refused(read: Callable[[str], Any], text: str) -> None:
    with pytest.raises(CommandError) as problem:
        read(text)
    assert problem.value.code == 2 and problem.value.hint


@pytest.mark.parametrize("text", ["", "hold=0.5", "cache", "cache=2", "spill=0.1", "cash=0.3"])
def test_shields_are_named_as_they_are(text: str) -> None:
    with pytest.raises(CommandError) as problem:
        _shield(text, None)
    assert SHIELDS in problem.value.hint


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config that has a fleet, and with a trace that cannot be replayed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "penstock.toml").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "bad.csv").write_text("arrival_s,input_tokens,output_tokens\n0,10,10\n1,-5,10\n2,10,1000000000\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "error", "hint"),
    [
        ((), 2, "nothing to replay", "--from-ledger"),
        ((*MADE, "trace.csv", *HARDWARE), 2, "more than one source of requests", "--synthetic"),
        ((*MADE, "--gpu", "L4"), 2, "no model is named", "--model"),
        ((*MADE, "--model", "lama-3.1-8b", "--gpu", "L4"), 2, "the nearest: llama-3.1-8b", ""),
        ((*MADE, "--model", "llama-3.1-8b", "--gpu", "H1000"), 2, "the nearest: H100-80GB", ""),
        ((*MADE, "--model", "llama-3.1-70b", "--gpu", "L40S", "--tp", "1"), 1, "does not fit on 1 x L40S-48GB", "--tp 4 would hold it"),
        ((*MADE, *HARDWARE, "--policy", "qeue"), 2, "there is no scaling policy `qeue`", "queue"),
        ((*MADE, *HARDWARE, "--class", "nightli"), 2, "nightly", ""),
        ((*MADE, *HARDWARE, "--slo", "ttft=2s"), 2, "`ttft=2s` is not an objective", "ttft_p95=2s"),
        ((*MADE, *HARDWARE, "--routing", "prefx"), 2, "there is no routing `prefx`", "did you mean `prefix`?"),
        ((*MADE, *HARDWARE, "--shield", "cache"), 2, "`--shield cache` means nothing", "cache=0.3"),
        ((*MADE, *HARDWARE, "--spot", "back=5m"), 2, "--spot does not say", "mtbf=6h"),
        ((*MADE, *HARDWARE[:4], "--usd-per-hour", "-1"), 2, "`-1` is not a price", ""),
        (("--synthetic", "rps=0,hours=1", *HARDWARE), 2, "no request comes", ""),
        (("bad.csv", *HARDWARE), 1, "row 3: ", ""),
        (("bad.csv", *HARDWARE, "--format-of-trace", "plian"), 2, "there is no format of traces `plian`", "did you mean `plain`?"),
        ((*MADE, *HARDWARE, "--expand", "input=3"), 2, "--expand says how a TRACE is read", "leave it out"),
        ((*MADE, *HARDWARE, "--time-unit", "ms"), 2, "--time-unit says how a TRACE is read", ""),
        ((*MADE, *HARDWARE, "--min", "5", "--max", "3"), 2, "--max 3 is below the least number", "raise --max"),
        ((*MADE, *HARDWARE, "--min", "2", "--max", "2", "--policy", "queue"), 2, "has nothing to scale", "raise --max"),
        ((*MADE, *HARDWARE, "--picture", "run.png"), 2, "--picture run.png is no .svg or .html", "run.svg"),
        ((*MADE, *HARDWARE, "--output", "none/run.json"), 2, "none is no directory", ""),
        ((*MADE, *HARDWARE, "--cache-hit-rate", "2"), 2, "`--cache-hit-rate 2` is not a share", "measured"),
        ((*MADE, *HARDWARE, "--tier-share", "small"), 1, "nothing was measured", "a share from 0 to 1"),
        (("--synthetic", "rps=1,hours=0.1,input=200000", *HARDWARE, "-q"), 1, "requests fits: a replica holds 131,072 tokens", "longer"),
        ((*MADE, "--fleet", "l40"), 2, "there is no fleet `l40`", "l40s"),
    ],
)
def test_what_cannot_be_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, error: str, hint: str
) -> None:
    assert run(["simulate", *arguments]) == code
    told = capsys.readouterr()
    assert error in told.err and hint in told.err.partition("hint:")[2]
    assert told.out == ""
