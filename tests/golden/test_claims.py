"""Figures that articles print on the cost of serving, and the right ones, as the calculators give them."""

import json
import re
import shlex
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from docs.claims import claims_markdown
from penstock.cli.app import run
from tests.golden.claims import NONE, Check, Claim, claims, computed, rounded

CHECKS = [(claim.id, each) for claim in claims().claim for each in claim.checks]


def agrees(check: Check) -> bool:
    """Whether what is printed is what is computed, to the decimals that are printed."""
    value = computed(check)
    return check.printed is not None and isinstance(value, Fraction) and rounded(value, check.printed) == Decimal(check.printed)


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=[f"{name} {check.command} {check.figure}" for name, check in CHECKS])
def test_the_right_figure(check: Check) -> None:
    value = computed(check)
    if isinstance(value, Fraction):
        assert rounded(value, check.is_) == Decimal(check.is_)
    else:
        assert (value or NONE) == check.is_


@pytest.mark.parametrize("claim", claims().claim, ids=lambda claim: claim.id)
def test_what_is_printed_is_right_or_wrong_as_told(claim: Claim) -> None:
    printed = [each for each in claim.checks if each.printed is not None]
    if claim.verdict in ("right", "given"):
        assert all(agrees(each) for each in printed)
    else:
        assert claim.why
        assert claim.verdict == "misleading" or printed, "a wrong figure is stated beside the right one"
        assert not printed or not all(agrees(each) for each in printed)


def test_claims_are_told_apart_and_all_their_figures_are_used() -> None:
    assert len({claim.id for claim in claims().claim}) == len(claims().claim)
    for claim in claims().claim:
        assert claim.article in claims().articles
        assert "{" not in claim.told()


def test_every_formula_of_the_articles_is_checked() -> None:
    told = " ".join(claim.id for claim in claims().claim).replace(",", "").split()
    later = {"F17"}  # the loss of distillation is no arithmetic of costs
    assert {f"F{number}" for number in range(1, 33)} - set(told) == later
    assert {"H1", "H2", "H3", "H6"} <= set(told)


def of_result(result: Any, path: list[str]) -> Any:
    if path[0] == "rows":
        [result] = [row for row in result["rows"] if str(next(iter(row.values()))) == path[1]]
    return result[path[-1]]


@pytest.mark.parametrize("claim", claims().claim, ids=lambda claim: claim.id)
def test_the_commands_of_a_row_show_its_figures(claim: Claim, capsys: pytest.CaptureFixture[str]) -> None:
    [line] = [line for line in claims_markdown().splitlines() if line.startswith(f"| {claim.id} |")]
    shown: dict[str, str] = {}
    for command in re.findall(r"`(penstock calc [^`]+)`", line.rpartition(" | ")[2]):
        assert run([*shlex.split(command)[1:], "--json"]) == 0, command
        shown[command] = capsys.readouterr().out
    for check in claim.checks:
        value, printed = computed(check), of_result(json.loads(shown[check.command])["result"], check.figure.split("."))
        if isinstance(value, Fraction):
            assert float(printed) * (100 if check.percent else 1) == pytest.approx(float(value), rel=1e-6), check
        else:
            assert printed == value, check
