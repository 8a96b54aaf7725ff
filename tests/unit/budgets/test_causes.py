"""Drivers add up to the excess, and the dimension that moved is named."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.budgets.causes import Cause, Slice, Tally, causes, drivers

USD = 10**9


def part(requests: int, usd: float, size: int = 1000, *, held: float = 0.0, replayed: int = 0, lost: float = 0.0, **keys: str) -> Slice:
    tokens = requests * size
    given = {"model": "small", "outcome": "ok", "price_version": "1", "user": "ann", **keys}
    return Slice(
        given,
        Tally(requests + replayed, round(usd * USD), tokens, tokens + replayed * size, tokens, round(tokens * held), round(lost * USD)),
    )


WEEK = [part(5000, 50), part(5000, 50, user="bob")]


def first(now: list[Slice], expected: float, metrics: tuple[str, ...] = (), before: list[Slice] = WEEK) -> Cause:
    return causes(before, now, round(expected * USD), "rank", metrics)[0]


def test_one_user_who_asks_more_is_named() -> None:
    cause = first([part(100, 1), part(900, 9, user="loop")], 1)
    assert (cause.driver, cause.dimension, cause.value) == ("requests", "user", "loop")
    assert cause.amount == 9 * USD and cause.before == 0 and cause.now == 0.9


def test_all_users_who_ask_more_are_the_features_own() -> None:
    cause = first([part(500, 5), part(500, 5, user="bob")], 1)
    assert (cause.driver, cause.dimension, cause.value) == ("requests", "feature", "rank")


def test_a_dearer_model_is_a_mix() -> None:
    cause = first([part(50, 5, model="huge"), part(50, 5, model="huge", user="bob")], 1)
    assert (cause.driver, cause.dimension, cause.value) == ("model_mix", "model", "huge")


def test_a_new_price_is_told_by_its_version() -> None:
    cause = first([part(50, 1, price_version="2"), part(50, 1, price_version="2", user="bob")], 1)
    assert (cause.driver, cause.dimension, cause.value) == ("price", "price_version", "2")


def test_a_prompt_cache_that_broke() -> None:
    before = [part(5000, 30, held=0.8), part(5000, 30, held=0.8, user="bob")]
    cause = first([part(50, 1, held=0.1), part(50, 1, user="bob")], 0.6, before=before)
    assert (cause.driver, cause.dimension, cause.value) == ("prompt_cache", "cache", "prompt cache")
    assert cause.before == 0.8 and cause.now == 0.05


def test_replays_that_are_gone() -> None:
    before = [part(5000, 50, replayed=5000)]
    cause = first([part(100, 1)], 0.5, before=before)
    assert (cause.driver, cause.dimension, cause.value) == ("replays", "cache", "replays")


def test_failures_that_cost() -> None:
    cause = first([part(100, 1), part(300, 3, outcome="error", lost=3)], 1)
    assert (cause.driver, cause.dimension, cause.value, cause.amount) == ("failures", "outcome", "error", 3 * USD)


def test_evidence_goes_before_chance() -> None:
    now = [part(60, 3, 2500, price_version="2")]
    assert first(now, 1).driver == "request_size"
    assert first(now, 1, ("cp1kt",)).driver == "price"


TALLY = st.builds(Tally, *[st.integers(0, 10**6) for _ in Tally._fields]).map(
    lambda tally: tally._replace(lost=min(tally.lost, tally.cost))
)
SLICE = st.builds(
    Slice,
    st.fixed_dictionaries(
        {"model": st.sampled_from(["a", "b", None]), "outcome": st.sampled_from(["ok", "error"]), "user": st.sampled_from("xyz")}
    ),
    TALLY,
)


@given(st.lists(SLICE, max_size=5), st.lists(SLICE, max_size=5), st.integers(0, 10**7))
def test_drivers_add_up_whatever_happened(before: list[Slice], now: list[Slice], expected: int) -> None:
    assert sum(drivers(before, now, expected).values()) == sum(each.tally.cost for each in now) - expected
    causes(before, now, expected, "rank", ("cp1kt", "spend"))
