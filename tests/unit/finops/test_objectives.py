"""Objectives as the config writes them: their names, what they are measured by, and what they ask for."""

import pytest

from penstock.config.load import parse
from penstock.domain.budgets.objectives import Reading
from penstock.finops.objectives.measuring import Objective, cp1kt, objectives
from penstock.finops.objectives.responding import directed, recipients
from penstock.finops.objectives.telling import basis

CONFIG = """
version = 1
[upstreams.own]
base_urls = ["http://127.0.0.1:9/v1"]
[upstreams.api]
base_urls = ["http://127.0.0.1:9/v1"]
[fleets.l40s]
upstream = "own"
gpu = "L40S"
[models.mine]
upstream = "own"
[models.theirs]
upstream = "api"
[tiers]
small = { model = "mine" }
large = { model = "theirs" }
[notify.a]
kind = "webhook"
url = "http://127.0.0.1:9/"
[notify.b]
kind = "webhook"
url = "http://127.0.0.1:9/"
"""
SLO = '[[slos]]\nmetric = "cp1kt"\ntarget = "<= 0.004 USD"\nwindow = "6h"\n'


def of(*slos: str) -> tuple[Objective, ...]:
    return objectives(parse(CONFIG + "".join(SLO + each for each in slos), {}))


def test_each_has_a_name_of_its_own() -> None:
    found = of('name = "x"\n', "", 'where = { team = "a", model = "mine" }\n', 'name = "x"\n', "", 'name = "x #2"\n')
    assert [each.name for each in found] == ["x", "cp1kt", "cp1kt team=a model=mine", "x #2", "cp1kt #2", "x #2 #2"]
    assert {each.target for each in found} == {4_000_000}


@pytest.mark.parametrize(
    ("where", "with_idle"),
    [
        ("", False),
        ('team = "a"', False),
        ('model = "mine"', True),
        ('model = "mine", team = "a"', True),
        ('tier = "small"', True),
        ('upstream = "own"', True),
        ('fleet = "l40s"', True),
        ('tier = "large"', False),
        ('upstream = "api"', False),
    ],
)
def test_what_own_fleets_alone_serve_is_measured_with_idle(where: str, with_idle: bool) -> None:
    (objective,) = of(f"where = {{ {where} }}\n")
    assert objective.with_idle is with_idle
    assert ("idle included" in basis(objective)) is with_idle


def test_responses_and_recipients() -> None:
    (objective,) = of(
        'respond = ["notify:b", "downgrade", "shift_traffic:small", "downgrade", "scale_down:l40s", "hold_best_effort", "notify:a"]\n'
    )
    assert list(directed(objective)) == [("downgrade", ""), ("shift_traffic", "small"), ("scale_down", "l40s"), ("hold_best_effort", "")]
    assert recipients(objective) == ("b", "a")


def test_cp1kt_is_unknown_without_cost_or_tokens() -> None:
    assert [cp1kt(Reading(cost, tokens, 1)) for cost, tokens in ((None, 5), (5, 0))] == [None, None]
    assert str(cp1kt(Reading(4_000_000, 1_000, 1))) == "0.004000000"
