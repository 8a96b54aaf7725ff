"""What sums say of money: known, partly known, unknown."""

from penstock.domain.ledger.measures import Sums, known_cost, known_counterfactual, saved, sums_of
from tests.ledger_entries import record


def test_nothing_answered_is_a_known_zero() -> None:
    assert (known_cost(Sums(refused=3)), known_counterfactual(Sums(refused=3)), saved(Sums(refused=3))) == (0, 0, 0)


def test_no_priced_request_is_unknown() -> None:
    assert (known_cost(Sums(requests=2)), known_counterfactual(Sums(requests=2)), saved(Sums(requests=2))) == (None, None, None)


def test_savings_compare_only_what_has_both_figures() -> None:
    sums = Sums(requests=3, priced=2, cost=50, compared=1, compared_cost=10, counterfactual=4)
    assert (known_cost(sums), known_counterfactual(sums), saved(sums)) == (50, 4, -6)


def test_list_cost_and_waste_are_of_compared_requests() -> None:
    compared = sums_of(record("a", cost=10, counterfactual=30, list_cost=20, wasted_cost=4))
    assert (compared.list_cost, compared.wasted) == (20, 4)
    unknown = sums_of(record("b", cost=10, counterfactual=30, list_cost=None, wasted_cost=None))
    assert (unknown.compared, unknown.list_cost, unknown.wasted) == (1, 0, 0)
    alone = sums_of(record("c", cost=10, counterfactual=None, list_cost=20, wasted_cost=4))
    assert (alone.priced, alone.list_cost, alone.wasted) == (1, 0, 0)
