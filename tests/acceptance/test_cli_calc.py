"""`penstock calc`: a list, calculations with inputs of the user's own, JSON for scripts, and errors that name what is meant."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from penstock.cli.app import run
from penstock.domain.sizing.calculators.registry import calculators
from tests.acceptance.command_line import penstock

Capture = pytest.CaptureFixture[str]


def told(capsys: Capture, *arguments: str) -> Any:
    assert run(["calc", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def shown(capsys: Capture, *arguments: str) -> str:
    assert run(["calc", *arguments]) == 0
    return capsys.readouterr().out


def test_as_a_user_runs_it(tmp_path: Path) -> None:
    done = penstock("calc", "serving-cost", "--set", "gpus=2", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert "gpu_hour_usd" in done.stdout and "1,152.32" in done.stdout and "given" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_all_are_listed(capsys: Capture) -> None:
    lines = shown(capsys)
    listed = told(capsys)["calculators"]
    assert [each["name"] for each in listed] == list(calculators())
    assert all(name in lines for name in calculators())
    assert listed[0]["inputs"]["gpus"] == {"words": "GPUs in a region", "unit": "GPUs"}


@pytest.mark.parametrize("name", list(calculators()))
def test_each_shows_inputs_figures_and_formula(name: str, capsys: Capture) -> None:
    lines = shown(capsys, name)
    report = told(capsys, name)
    assert all(key in lines for key in report["inputs"]) and "formula: " in lines
    assert all(f"note: {note}" in lines for note in report["notes"])
    assert set(report["units"]) | {"rows"} >= set(report["result"])
    assert all(not each["given"] for each in report["inputs"].values())


def test_amounts_are_exact_texts_and_what_is_no_number_says_why(capsys: Capture) -> None:
    report = told(capsys, "serving-cost", "--set", "output_tokens=0", "--set", "gpu_hour_usd=0.1")
    assert Decimal(report["result"]["compute_usd"]) == 72
    assert report["inputs"]["gpu_hour_usd"] == {
        "value": "0.1",
        "unit": "USD/GPU-hour",
        "given": True,
        "source": calculators_source("serving-cost", "gpu_hour_usd"),
    }
    assert report["result"]["output_million_usd"] is None
    assert report["unknown"]["output_million_usd"] == "no output, so no price of it"
    assert "no output, so no price of it" in shown(capsys, "serving-cost", "--set", "output_tokens=0")


def calculators_source(name: str, key: str) -> str:
    from penstock.domain.sizing.calculators.calculator import quantities

    return quantities(calculators()[name].inputs)[key].source


def test_a_curve_is_drawn(capsys: Capture) -> None:
    lines = shown(capsys, "cost-curve", "--set", "tiers=one,two", "--set", "gpus=1,2", *plain()).splitlines()
    marks = {line.split()[0]: line.count("█") + line.count("#") for line in lines if line.strip().startswith(("one", "two"))}
    assert marks["two"] == 2 * marks["one"] > 0
    report = told(capsys, "cost-curve", "--set", "tiers=one,two", "--set", "gpus=1,2", *plain())
    assert [(row["tier"], int(row["usd"]), row["jump"]) for row in report["result"]["rows"]] == [("one", 2520, None), ("two", 5040, 2)]


def plain() -> list[str]:
    return [part for key in ("hours_per_day=24", "discount=0", "regions=1") for part in ("--set", key)]


def test_models_and_gpus_go_by_name(capsys: Capture) -> None:
    report = told(
        capsys, "quantisation", "--set", "model=meta-llama/Llama-3.1-8B-Instruct", "--set", "gpu=l4", "--set", "formats=bf16,int4"
    )
    assert (report["inputs"]["model"]["value"], report["inputs"]["gpu"]["value"]) == ("llama-3.1-8b", "L4-24GB")
    assert [row["gpus"] for row in report["result"]["rows"]] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["cost-curv"], "no calculator `cost-curv`", "`cost-curve`"),
        (["blend", "--set", "share=1"], "no input `share`", "`shares`"),
        (["blend", "--set", "shares"], "`shares` is not KEY=VALUE", "--set gpus=2"),
        (["serving-cost", "--set", "gpus=1", "--set", "gpus=2"], "gives gpus twice", "a list is one value"),
        (["serving-cost", "--set", "gpus=-1"], "gpus must be at least 0, not -1", "GPUs that run"),
        (["serving-cost", "--set", "gpu_hour_usd=cheap"], "`cheap` is not a number", "40%"),
        (["serving-cost", "--set", "requests_per_day=1e30"], "must be at most", "requests"),
        (["context-cost", "--set", "model=lama-3-70b"], "no model `lama-3-70b`", "penstock size"),
        (["quantisation", "--set", "gpu=H1000"], "no accelerator `H1000`", "penstock size"),
        (["--set", "gpus=2"], "--set is of one calculator", "penstock calc NAME"),
    ],
)
def test_errors_name_what_is_meant(arguments: list[str], message: str, hint: str, capsys: Capture) -> None:
    assert run(["calc", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    error, told_hint = captured.err.split("hint:")
    assert message in error and hint in told_hint


def test_quiet_says_nothing_beside_the_data(capsys: Capture) -> None:
    assert run(["calc", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
