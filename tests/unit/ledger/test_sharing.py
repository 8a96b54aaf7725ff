"""A pot is shared whole or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.sharing import Rule, share_pot

weights = st.dictionaries(st.tuples(st.text("ab", max_size=2) | st.none()), st.integers(0, 10**12), max_size=8)


@given(st.integers(-(10**15), 10**15), weights, st.sampled_from(["proportional", "even"]))
def test_a_pot_is_shared_to_the_last_unit_by_those_who_used_it(amount: int, use: dict[tuple[str | None], int], rule: Rule) -> None:
    shares = share_pot(amount, use, rule)
    assert set(shares) == {key for key, weight in use.items() if weight}
    assert sum(shares.values()) == (amount if shares else 0)
    assert all(part * amount >= 0 for part in shares.values())
    assert shares == share_pot(amount, dict(reversed(use.items())), rule)


@given(st.integers(0, 10**15), weights)
def test_shares_are_as_fair_as_whole_units_can_be(amount: int, use: dict[tuple[str | None], int]) -> None:
    total = sum(use.values())
    for key, part in share_pot(amount, use, "proportional").items():
        assert abs(part * total - amount * use[key]) < total
    even = share_pot(amount, use, "even").values()
    assert not even or max(even) - min(even) <= 1


def test_the_rules() -> None:
    use = {"a": 3, "b": 1, "c": 0}
    assert share_pot(100, use, "proportional") == {"a": 75, "b": 25}
    assert share_pot(101, use, "even") == {"a": 51, "b": 50}
    assert share_pot(100, use, "separate") == {}
    assert share_pot(100, {"a": 0}, "even") == share_pot(100, {}, "proportional") == {}
    assert share_pot(-100, use, "proportional") == {"a": -75, "b": -25}
    assert share_pot(0, use, "proportional") == {"a": 0, "b": 0}


def test_a_use_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        share_pot(1, {"a": 2, "b": -1}, "separate")
