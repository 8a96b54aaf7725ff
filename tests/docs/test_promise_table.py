"""The figures of the semantic cache's promise stand in the documentation as the law has them."""

import re

import pytest

from penstock.config.caching import SemanticCache
from penstock.domain.routing.similarity.promise import _BETS, ALPHA, risk_for
from tests.docs.blocks import REPOSITORY

PAGE = (REPOSITORY / "docs/explanation/semantic-cache-risk.md").read_text("utf-8")
ROW = re.compile(r"^\| (\d+(?:\.\d+)?)(?: \(([\d,]+)[^)]*\))? \| (\d+) % \|$", re.MULTILINE)


def test_what_may_be_spent_is_what_the_law_says() -> None:
    rows = ROW.findall(PAGE)
    assert len(rows) == 5
    for wrong, requests, share in rows:
        assert round(100 * risk_for(float(wrong)) / float(wrong)) == int(share)
        assert not requests or float(requests.replace(",", "")) * SemanticCache().max_error == pytest.approx(float(wrong))


def test_the_first_answers_wait_for_so_many_requests() -> None:
    [told] = re.findall(r"at 0\.5 % a scope gets nothing by meaning in its first (\d+) requests", PAGE)
    assert risk_for(0.005 * (int(told) - 10)) < 0 < risk_for(0.005 * (int(told) + 10))


def test_the_bound_is_told_with_its_constants() -> None:
    assert f"ln({len(_BETS)} / {ALPHA:g})" in PAGE
    assert f"over six values of λ from {min(_BETS):g} to {max(_BETS):g}" in PAGE and len(_BETS) == 6
