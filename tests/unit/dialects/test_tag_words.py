"""Words of tags: a taxonomy's names are the ledger's own, and allowed values are kept in one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.dialects.content import allowed_value, normal_tag

TEXT = st.text("abAB-_ ", max_size=4)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("model-name", "model"), ("Model_Name", "model"), ("optimization-level", "optimization"), ("sla-tier", "sla"),
        ("workload-type", "workload_type"), ("model-version", "model_version"), ("cost-center", "cost_center"),
    ],
)  # fmt: skip
def test_the_taxonomy_is_spoken(name: str, word: str) -> None:
    assert normal_tag(name) == word


@given(name=TEXT)
def test_a_normal_name_stays_as_it_is(name: str) -> None:
    assert normal_tag(normal_tag(name)) == normal_tag(name)


@pytest.mark.parametrize("value", ["best_effort", "best-effort", "Best-Effort", "BEST_EFFORT"])
def test_an_allowed_value_is_kept_in_its_allowed_spelling(value: str) -> None:
    assert allowed_value(value, ("critical", "best_effort")) == "best_effort"


@pytest.mark.parametrize("value", ["besteffort", "best effort", "best_efforts", ""])
def test_other_values_are_not_allowed(value: str) -> None:
    assert allowed_value(value, ("critical", "best_effort")) is None


@given(value=TEXT, allowed=st.lists(TEXT, max_size=4))
def test_what_is_kept_is_one_of_the_allowed(value: str, allowed: list[str]) -> None:
    kept = allowed_value(value, allowed)
    assert kept is None or kept in allowed
    if value in allowed:
        assert kept == value
