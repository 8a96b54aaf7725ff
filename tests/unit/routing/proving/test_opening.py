"""How far ways are opened within a budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.ledger.routed import Stratum
from penstock.domain.routing.proving.estimating import Belief
from penstock.domain.routing.proving.opening import CLOSED, MOST, Choice, Opening, allocate, openings


def test_a_way_opens_from_its_safest_stratum_on() -> None:
    found = list(openings(("agree", "differ"), {"agree": 0.6, "differ": 0.4}, {"agree": Belief(0.0, 0.0), "differ": Belief(0.5, 0.0)}))
    assert [round(each.kept, 2) for each in found] == [round(0.06 * step, 2) for step in range(1, 11)] + [
        round(0.6 + 0.04 * step, 2) for step in range(1, 11)
    ]
    assert found[9].parts == (("agree", 1.0),)
    assert found[-1].parts == (("agree", 1.0), ("differ", 1.0))
    assert found[-1].loss == pytest.approx(0.2)


def test_nothing_is_opened_of_which_nothing_is_known_nor_what_comes_after_it() -> None:
    shares: dict[Stratum, float] = {"agree": 0.6, "differ": 0.4}
    assert list(openings(("agree", "differ"), shares, {"agree": None, "differ": Belief(0.0, 0.0)})) == []
    assert len(list(openings(("agree", "differ"), shares, {"agree": Belief(0.0, 0.0), "differ": None}))) == 10


def test_a_way_with_one_stratum_is_open_or_not() -> None:
    assert [each.kept for each in openings(("direct",), {"direct": 1.0}, {"direct": Belief(0.01, 0.0)})] == [1.0]


def test_deviations_of_strata_add_up_as_independent_ones() -> None:
    *_, last = openings(("agree", "differ"), {"agree": 0.5, "differ": 0.5}, {"agree": Belief(0.0, 0.04), "differ": Belief(0.0, 0.09)})
    assert last.deviation == pytest.approx((0.25 * 0.04 + 0.25 * 0.09) ** 0.5)
    low, high = last.interval
    assert high - low == pytest.approx(2 * 1.2816 * last.deviation)


def choice(worth: float, loss: float, deviation: float = 0.0) -> Choice:
    return Choice(0, Opening((("agree", 1.0),), 1.0, loss, deviation), worth)


STAY = Choice(None, CLOSED, 1.0)


def test_a_tag_alone_gets_the_cheapest_that_fits() -> None:
    [found] = allocate([[STAY, choice(0.5, 0.02), choice(0.3, 0.04)]], [1.0], 0.03, 1.0)
    assert found.worth == 0.5
    [careful] = allocate([[STAY, choice(0.5, 0.02, 0.02), choice(0.3, 0.04)]], [1.0], 0.03, 1.0)
    assert careful is STAY


def test_tags_together_spend_the_budget_where_it_saves_most() -> None:
    dear, cheap = [STAY, choice(0.2, 0.05)], [STAY, choice(0.8, 0.05)]
    first, second = allocate([dear, cheap], [1.0, 1.0], 0.03, 1.0)
    assert first.worth == 0.2
    assert second is STAY


def test_what_one_tag_gains_another_may_lose_up_to_a_bound() -> None:
    gains, loses = [STAY, choice(0.3, -0.2)], [STAY, choice(0.3, 0.2)]
    assert [each.worth for each in allocate([gains, loses], [1.0, 1.0], 0.03, 1.0)] == [0.3, 0.3]
    ruined = [STAY, choice(0.3, MOST * 0.03 + 0.01)]
    assert allocate([gains, ruined], [1.0, 1.0], 0.03, 1.0)[1] is STAY


@given(
    st.lists(st.lists(st.tuples(st.floats(0, 0.99), st.floats(-0.2, 0.4), st.floats(0, 0.1)), max_size=6), min_size=1, max_size=5),
    st.floats(0.005, 0.1),
    st.floats(0, 2),
)
def test_the_budget_is_never_passed_and_nothing_that_fits_is_left_out(
    drawn: list[list[tuple[float, float, float]]], budget: float, caution: float
) -> None:
    tags = [[STAY, *(choice(*each) for each in group)] for group in drawn]
    found = allocate(tags, [1.0] * len(tags), budget, caution)
    loss = sum(each.opening.loss for each in found) / len(found)
    spread = sum((each.opening.deviation / len(found)) ** 2 for each in found) ** 0.5
    assert loss + caution * spread <= budget + 1e-9
    if len(tags) == 1:
        assert not [each for each in tags[0] if each.opening.bound(caution) <= budget and each.worth < found[0].worth]
