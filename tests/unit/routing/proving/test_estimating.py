"""What labels of a tag, and those of others, make of a mean loss."""

import random
from math import inf
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.proving.estimating import SETTLED, Labels, Stratified


def labels(*losses: float) -> Labels:
    found = Labels()
    for loss in losses:
        found = found.plus(loss)
    return found


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=50))
def test_labels_add_up_to_mean_and_variance(losses: list[float]) -> None:
    found = labels(*losses)
    assert found.count == len(losses)
    assert found.mean == pytest.approx(fmean(losses), abs=1e-9)
    assert found.squares / len(losses) == pytest.approx(pvariance(losses), abs=1e-9)


def test_no_label_is_known_with_no_error() -> None:
    assert Labels().error == inf
    assert labels(0.0).error > 0.1


def many(tags: int, per_tag: int, spread: float, seed: int = 0) -> tuple[dict[str, Labels], dict[str, float]]:
    dice, found, true = random.Random(seed), {}, {}
    for number in range(tags):
        mean = min(max(dice.gauss(0.15, spread), 0.0), 1.0)
        true[f"t{number}"] = mean
        found[f"t{number}"] = labels(*(float(dice.random() < mean) for _ in range(per_tag)))
    return found, true


def test_a_tag_that_was_never_seen_is_expected_to_be_like_the_others() -> None:
    found, true = many(30, 200, 0.08)
    belief = Stratified(found).belief("new")
    assert belief is not None
    assert belief.mean == pytest.approx(fmean(true.values()), abs=0.03)
    assert 0.05 < belief.deviation < 0.13


def test_tags_that_hardly_differ_make_a_new_one_certain() -> None:
    apart, alike = Stratified(many(30, 200, 0.1)[0]).belief("new"), Stratified(many(30, 200, 0.0)[0]).belief("new")
    assert apart is not None
    assert alike is not None
    assert alike.deviation < apart.deviation / 2


def test_own_labels_outweigh_others_when_there_are_many() -> None:
    found, _ = many(10, 200, 0.05)
    found["own"] = labels(*[1.0] * 300, *[0.0] * 100)
    belief = Stratified(found).belief("own")
    assert belief is not None
    assert belief.mean == pytest.approx(0.75, abs=0.03)


def test_few_labels_of_a_bad_tag_raise_what_is_expected_of_other_new_ones() -> None:
    found, _ = many(10, 200, 0.08)
    before = Stratified(found).belief("another")
    after = Stratified(found | {"new": labels(*[1.0] * 20, *[0.0] * 20)}).belief("another")
    assert before is not None
    assert after is not None
    assert after.mean > before.mean + 0.03


def test_a_settled_tag_tells_new_ones_less_than_a_new_one_does() -> None:
    found, _ = many(10, 200, 0.08)
    bad = [1.0, 0.0] * int(SETTLED)
    new = Stratified(found | {"new": labels(*bad[:40])}).belief("another")
    settled = Stratified(found | {"old": labels(*bad)}).belief("another")
    assert new is not None
    assert settled is not None
    assert new.mean > settled.mean


def test_with_too_few_tags_only_own_labels_count_and_a_loss_is_added_to_them() -> None:
    stratified = Stratified({"a": labels(*[0.0] * 9), "b": labels(0.0)})
    belief = stratified.belief("a")
    assert belief is not None
    assert belief.mean == pytest.approx(0.1)
    assert stratified.belief("c") is None


@given(st.lists(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=20), min_size=1, max_size=6))
def test_pooled_labels_are_those_of_all_tags(groups: list[list[float]]) -> None:
    pooled = Stratified({str(at): labels(*group) for at, group in enumerate(groups)}).pooled
    losses = [loss for group in groups for loss in group]
    assert pooled.count == len(losses)
    assert pooled.mean == pytest.approx(fmean(losses), abs=1e-9)
    assert pooled.squares / len(losses) == pytest.approx(pvariance(losses), abs=1e-9)
