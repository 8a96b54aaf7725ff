"""What `check` says of the semantic cache that keeps nobody from starting."""

import importlib.util

import pytest

from penstock.config import checks_server
from penstock.config.checks import problems
from penstock.config.load import parse
from penstock.config.problems import ConfigError, Problem


def found(cache: str) -> list[Problem]:
    settings = parse(f"version = 1\n[cache.semantic]\n{cache}", {})
    return [problem for problem in problems(settings) if problem.where.startswith("cache.semantic")]


def test_it_may_be_turned_on() -> None:
    assert found("enabled = true") == []


def test_what_is_off_is_not_looked_at() -> None:
    assert found('enabled = false\nstore = "mysql://x"\nwrong_answer = "much"') == []


@pytest.mark.parametrize("given", ["a lot", "0.5 EUR", "0.5 USD/gpu-hour", "-1 USD", ""])
def test_what_a_wrong_answer_costs_is_an_amount(given: str) -> None:
    (problem,) = found(f'enabled = true\nwrong_answer = "{given}"')
    assert (problem.severity, problem.where) == ("error", "cache.semantic.wrong_answer")
    assert "0.50 USD" in problem.hint and not found('enabled = true\nwrong_answer = "0.50 USD"')


def test_a_store_of_no_known_kind_is_told() -> None:
    (problem,) = found('enabled = true\nstore = "mysql://db"')
    assert (problem.severity, problem.where) == ("error", "cache.semantic.store")
    for store in ("auto", "redis://h:6379/0", "rediss://h", "postgresql://u@h/d", "local://"):
        assert not found(f'enabled = true\nstore = "{store}"')


@pytest.mark.parametrize("given", ["0.05", "0", "0.49"])
def test_a_distance_is_not_taken_for_a_similarity(given: str) -> None:
    with pytest.raises(ConfigError) as refused:
        found(f"enabled = true\nsimilarity = {given}")
    (problem,) = refused.value.problems
    assert problem.where == "cache.semantic.similarity" and "at least 0.5" in problem.text
    assert "similarity, not a distance" in problem.hint


def test_a_bound_that_lets_nothing_through_is_told() -> None:
    (problem,) = found('enabled = true\nmode = "learned"\nmax_error = 0')
    assert (problem.severity, problem.where) == ("warning", "cache.semantic.max_error")


def test_packages_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(checks_server, "find_spec", lambda name: None if name in ("usearch", "onnx") else there(name))
    (problem,) = found("enabled = true")
    assert (problem.severity, problem.where) == ("warning", "cache.semantic.enabled")
    assert "onnx, usearch" in problem.text and "penstock[semantic]" in problem.hint
