"""The residual: against the formulas done with a plain inverse, and how it falls back where nothing is alike."""

import numpy as np
import pytest

from penstock.domain.sizing.latency.residual import LABELS, NUMBERS, SCALES, Component, Rows, left_out, posterior, predicted

COMPONENTS = (Component("level", ("model",), 0.05), Component("level", ("model", "engine"), 0.02), Component("smooth", ("engine",), 0.1))
PRIOR = 0.17


def rows(count: int, seed: int, models: int = 3) -> Rows:
    dice = np.random.default_rng(seed)
    labels = np.full((count, len(LABELS)), "same", dtype="<U8")
    labels[:, LABELS.index("model")] = [f"m{i}" for i in dice.integers(0, models, count)]
    labels[:, LABELS.index("engine")] = [f"e{i}" for i in dice.integers(0, 2, count)]
    return Rows(labels, dice.normal(size=(count, len(NUMBERS))))


def plain(a: Rows, b: Rows) -> np.ndarray:
    """The covariance, entry by entry."""
    total = np.zeros((len(a.numbers), len(b.numbers)))
    for i in range(len(a.numbers)):
        for j in range(len(b.numbers)):
            distance = np.sqrt(3) * np.linalg.norm((a.numbers[i] - b.numbers[j]) / SCALES)
            for component in COMPONENTS:
                places = [LABELS.index(label) for label in component.labels]
                if all(a.labels[i, place] == b.labels[j, place] != "" for place in places):
                    total[i, j] += component.variance * ((1 + distance) * np.exp(-distance) if component.kind == "smooth" else 1)
    return total


def test_it_is_the_textbook_posterior() -> None:
    known, asked = rows(90, 1), rows(7, 2)
    dice = np.random.default_rng(3)
    told, noise = dice.normal(size=90), dice.uniform(0.01, 0.1, 90)
    inverse = np.linalg.inv(plain(known, known) + np.diag(noise))
    across = plain(known, asked)
    mean, variance = predicted(posterior(known, told, noise, COMPONENTS), asked)
    assert mean == pytest.approx(across.T @ inverse @ told)
    assert variance == pytest.approx(PRIOR - np.einsum("ij,ik,kj->j", across, inverse, across))


def test_leaving_a_row_out_is_fitting_without_it() -> None:
    known = rows(70, 4)
    told, noise = np.random.default_rng(5).normal(size=70), np.full(70, 0.05)
    errors, variance = left_out(posterior(known, told, noise, COMPONENTS))
    rest = np.arange(70) != 11
    others = posterior(Rows(known.labels[rest], known.numbers[rest]), told[rest], noise[rest], COMPONENTS)
    mean, unsure = predicted(others, Rows(known.labels[11:12], known.numbers[11:12]))
    assert errors[11] == pytest.approx(told[11] - mean[0])
    assert variance[11] == pytest.approx(unsure[0] + 0.05)


def test_what_is_unlike_everything_gets_the_prior() -> None:
    known = rows(40, 6)
    given = posterior(known, np.ones(40), np.full(40, 0.01), COMPONENTS)
    for name in ("new", ""):
        stranger = rows(1, 7)
        stranger.labels[:, [LABELS.index("model"), LABELS.index("engine")]] = name
        mean, variance = predicted(given, stranger)
        assert mean[0] == 0 and variance[0] == pytest.approx(PRIOR)


def test_rows_with_an_unknown_label_are_not_alike() -> None:
    known = rows(30, 8)
    known.labels[:, LABELS.index("model")] = ""
    given = posterior(known, np.ones(30), np.full(30, 0.01), COMPONENTS[:2])
    asked = rows(1, 9)
    asked.labels[:, LABELS.index("model")] = ""
    assert predicted(given, asked)[0][0] == 0
