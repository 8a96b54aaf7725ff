"""The promise: simulated scopes of which everything is known, many times over; what is said of the share of runs must hold in it."""

from copy import deepcopy
from dataclasses import dataclass
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.routing.similarity.promise import ALPHA, Figures, Promise, risk_for, wrong_at_most


@dataclass
class Scope:
    """A stream of requests: `near` of them have a candidate, whose raw risk is drawn from a Beta distribution."""

    promise: Promise
    random: Random
    near: float
    shape: tuple[float, float]
    heard: int
    """requests between two words of the log"""
    requests: int = 0
    served: int = 0
    wrong: int = 0
    risk: float = 0.0
    worst: float = 0.0
    """the most that the bound of wrong answers was over what is accepted, since anything was served"""
    _counts: tuple[int, int, float] = (0, 0, 0.0)

    def play(self, requests: int, max_error: float, worse: float = 1.0, asked: float | None = None) -> "Scope":
        """`worse`: how many times larger the true risks are than the raw ones."""
        for _ in range(requests):
            self.requests += 1
            risk = None
            if self.random.random() < self.near:
                risk = self._request(max_error if asked is None else asked, worse)
            else:
                self.promise.saw(None)
            counts = self._counts
            self._counts = (counts[0] + 1, counts[1] + (risk is not None), counts[2] + (risk or 0.0))
            if self._counts[0] >= self.heard:
                self.promise.counted(*self._counts)
                self._counts = (0, 0, 0.0)
            if self.risk:
                self.worst = max(self.worst, wrong_at_most(self.risk) - max_error * self.requests)
        return self

    def _request(self, asked: float, worse: float) -> float | None:
        """The risk at which it is served."""
        promise, raw = self.promise, self.random.betavariate(*self.shape)
        risk = promise.risk(raw)
        promise.saw(risk)
        wrong = self.random.random() < min(raw * worse, 1.0)
        fits = not promise.alarm and risk <= promise.threshold(asked) and promise.affords(risk)
        chance = promise.chance_of_probe(risk)
        if fits and self.random.random() >= chance:
            promise.serves(risk)
            self.served, self.wrong, self.risk = self.served + 1, self.wrong + wrong, self.risk + risk
            return risk
        promise.compared(raw, float(wrong), chance if fits else 1.0, fits)
        return None


def scope(seed: int, max_error: float, near: float = 0.7, shape: tuple[float, float] = (0.5, 12.0), heard: int = 1) -> Scope:
    return Scope(Promise(max_error, 0.02), Random(seed), near, shape, heard)


# --- the bound of wrong answers


@pytest.mark.parametrize("shape", [(1.0, 19.0), (0.2, 0.6), (0.5, 100.0)])
def test_no_more_are_wrong_than_the_bound_says_at_any_time(shape: tuple[float, float]) -> None:
    random = np.random.default_rng(11)
    risks = random.beta(*shape, size=(300, 1500))
    wrong = np.cumsum(random.random(risks.shape) < risks, axis=1)
    sums = np.cumsum(risks, axis=1)
    grid = np.linspace(0, sums.max(), 4000)
    bounds = np.array([wrong_at_most(risk) for risk in grid])[np.searchsorted(grid, sums, side="right") - 1]
    assert (wrong <= bounds).all(axis=1).mean() >= 1 - ALPHA


def test_the_bound_is_worth_something() -> None:
    assert wrong_at_most(0.0) < 4
    assert wrong_at_most(10.0) < 23
    assert 100 < wrong_at_most(100.0) < 140
    assert 1000 < wrong_at_most(1000.0) < 1120


@given(st.floats(0, 1e4), st.floats(0, 1e3))
def test_more_risk_is_never_a_smaller_bound(risk: float, more: float) -> None:
    assert wrong_at_most(risk + more) >= wrong_at_most(risk) >= risk


@given(st.floats(0, 1e4))
def test_what_may_be_risked_is_what_the_bound_allows(wrong: float) -> None:
    risk = risk_for(wrong)
    if risk < 0:
        assert wrong_at_most(0.0) > wrong
    else:
        assert wrong_at_most(risk) == pytest.approx(wrong)


# --- that it is kept


@pytest.mark.parametrize(
    ("max_error", "requests", "least"), [(0.002, 2400, 0.03), (0.005, 1300, 0.05), (0.01, 800, 0.05), (0.02, 600, 0.1)]
)
def test_it_is_kept_while_risks_are_right(max_error: float, requests: int, least: float) -> None:
    runs = [scope(seed, max_error).play(requests, max_error) for seed in range(100)]
    assert sum(run.wrong <= max_error * requests for run in runs) >= 95
    assert sum(run.served for run in runs) > least * requests * len(runs)


@pytest.mark.parametrize("heard", [1, 400, 2000])
def test_nothing_is_served_beyond_the_bound_however_late_the_log_tells(heard: int) -> None:
    """Nothing near for a long time, then much of it at once: what is left of the budget is known only as it was a while ago."""
    for seed, quiet in ((1, 2000), (2, 6000)):
        run = scope(seed, 0.005, heard=heard, near=0.0).play(quiet, 0.005)
        run.near, run.shape = 1.0, (0.8, 8.0)
        run.play(4000, 0.005)
        assert run.served > 100
        assert run.worst <= 1e-6


def test_errors_are_few_even_where_nearly_everything_is_wrong() -> None:
    run = scope(3, 0.01, shape=(8.0, 2.0)).play(5000, 0.01)
    assert run.wrong <= 0.01 * run.requests


@pytest.mark.parametrize("max_error", [0.005, 0.02])
def test_a_new_worker_does_not_squander_what_is_left(max_error: float) -> None:
    """What was seen of candidates is not in the figures: who goes on from them knows nothing of what will come."""
    known = scope(4, max_error).play(3000, max_error).promise
    heir = Promise(max_error, 0.02)
    heir.figures = known.figures
    heir.saw(0.2)
    known.saw(0.2)
    assert 0 < heir.threshold(max_error) <= known.threshold(max_error) * 1.5


# --- when the risks are wrong


def test_risks_that_are_too_small_ring_the_alarm_and_serving_goes_on_when_they_fit_again() -> None:
    for seed in range(5):
        run = scope(seed, 0.05, near=0.9, shape=(0.5, 30.0)).play(2500, 0.05)
        calm, requests = run.promise.figures.alarms, run.requests
        while run.promise.figures.alarms == calm:
            run.play(1, 0.05, worse=15.0)
            assert run.requests < requests + 1000
        before = run.served
        run.play(100, 0.05, worse=15.0)
        assert run.served == before
        run.play(3000, 0.05, worse=15.0)
        assert run.served > before + 100
        assert run.wrong <= 0.05 * run.requests


@pytest.mark.parametrize(("max_error", "worse"), [(0.005, 2.0), (0.02, 2.0), (0.02, 5.0)])
def test_after_a_sudden_shift_errors_stay_near_the_promise(max_error: float, worse: float) -> None:
    """No law knows of a shift before probes tell; what is wrong until then is bounded all the same."""
    for seed in range(6):
        run = scope(seed, max_error).play(1500, max_error).play(3000, max_error, worse=worse)
        assert run.served > 200
        assert run.wrong <= 1.5 * max_error * run.requests


def test_while_the_alarm_lasts_nothing_is_served_by_meaning() -> None:
    run = scope(1, 0.02).play(2000, 0.02)
    run.promise.figures.alarm = True
    before = run.served
    run.play(20, 0.02)
    assert run.promise.alarm
    assert run.served == before


def test_the_alarm_goes_on_where_risks_do_not_fit() -> None:
    promise = Promise(0.02, 0.02)
    promise.figures = Figures(requests=10_000, alarm=True, alarms=1, riskiest=0.2)
    for at in range(149):
        promise.compared(0.01, float(at % 10 == 0), 1.0, fits=False)
        promise.figures.wrong, promise.figures.expected = Figures().wrong, Figures().expected
        assert promise.standing().alarm
    promise.compared(0.01, 0.0, 1.0, fits=False)
    assert promise.standing().alarm
    for _ in range(150):
        promise.compared(0.01, 0.0, 1.0, fits=False)
    assert not promise.standing().alarm
    assert promise.figures.alarms == 1


def test_what_would_not_be_served_does_not_end_an_alarm() -> None:
    promise = Promise(0.02, 0.02)
    promise.figures = Figures(requests=10_000, alarm=True, alarms=1, riskiest=0.05)
    for _ in range(1000):
        promise.compared(0.5, 0.0, 1.0, fits=False)
        promise.figures.wrong, promise.figures.expected = Figures().wrong, Figures().expected
    assert promise.alarm


def test_right_risks_seldom_ring_the_alarm() -> None:
    """At most once in 400 probes on average, says the law of the bet."""
    runs = [scope(seed, 0.02).play(3000, 0.02) for seed in range(25)]
    probes = sum(run.promise.figures.probes for run in runs)
    assert probes > 1500
    assert sum(run.promise.figures.alarms for run in runs) <= probes / 400


def test_who_was_wrong_too_often_is_believed_less() -> None:
    promise = Promise(0.01, 0.02)
    before = promise.risk(0.02)
    for at in range(200):
        promise.compared(0.02, float(at % 5 == 0), 1.0, fits=False)
    assert promise.risk(0.02) > before
    assert promise.risk(0.02) == pytest.approx(0.2, rel=0.25)
    assert promise.risk(0.4) == pytest.approx(1.6 * 0.4)


def test_what_was_right_for_long_is_trusted_more() -> None:
    promise = Promise(0.01, 0.02)
    for _ in range(500):
        promise.compared(0.1, 0.0, 1.0, fits=False)
    assert promise.risk(0.1) < 0.01


@given(st.floats(0, 1), st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=30))
def test_a_risk_is_a_probability(raw: float, experience: list[tuple[float, bool]]) -> None:
    promise = Promise(0.01, 0.02)
    for each, wrong in experience:
        promise.compared(each, float(wrong), 1.0, fits=False)
    assert 0 <= promise.risk(raw) <= 1


# --- what the probes prove


@pytest.mark.parametrize("adversary", [False, True])
def test_no_more_is_proven_than_was_wrong_at_any_time(adversary: bool) -> None:
    """An adversary, who sees all coins so far, sends what is wrong when the proof stands high, and what is right else."""
    held = 0
    for seed in range(300):
        random, promise, wrong_ones, ok = Random(seed), Promise(0.9, 0.02), 0, True
        promise.counted(100_000, 0, 0.0)
        for at in range(400):
            chance = 0.05 + 0.2 * (at % 2)
            wrong = (sum(promise.figures.proofs) >= 0 and random.random() < 0.9) if adversary else random.random() < 0.2
            if random.random() < chance:
                promise.compared(0.5, float(wrong), chance, fits=True)
                promise.figures.bets = [0.0, 0.0]
                ok = ok and promise.standing().at_least * 100_000 <= wrong_ones + 1e-6
            else:
                wrong_ones += wrong
        held += ok
    assert held >= 300 * (1 - ALPHA)


def test_much_that_is_wrong_is_proven() -> None:
    promise, random, wrong_ones = Promise(0.9, 0.02), Random(2), 0
    promise.counted(100_000, 0, 0.0)
    for _ in range(4000):
        wrong = random.random() < 0.3
        if random.random() < 0.1:
            promise.compared(0.5, float(wrong), 0.1, fits=True)
            promise.figures.bets = [0.0, 0.0]
        else:
            wrong_ones += wrong
    assert wrong_ones * 0.6 < promise.standing().at_least * 100_000 <= wrong_ones


def test_a_proof_of_too_many_rings_the_alarm_whatever_the_risks_say() -> None:
    promise = Promise(0.001, 0.02)
    promise.counted(1000, 100, 0.1)
    for _ in range(3):
        promise.compared(0.4, 1.0, 0.01, fits=True)
    assert promise.alarm
    assert promise.standing().at_least == 0


# --- people and requests


@given(st.floats(1e-6, 0.3), st.floats(1e-6, 0.9), st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=20))
def test_who_tells_that_an_answer_was_wrong_only_makes_risks_larger(told: float, raw: float, experience: list[tuple[float, bool]]) -> None:
    promise = Promise(0.01, 0.02)
    for each, wrong in experience:
        promise.compared(each, float(wrong), 1.0, fits=False)
    before = promise.risk(raw)
    promise.told_wrong(told)
    assert promise.risk(raw) >= before


@pytest.mark.parametrize("raw", [0.0003, 0.003, 0.03, 0.1])
@pytest.mark.parametrize("true", [0.1, 1.0, 5.0])
def test_what_is_told_falls_on_those_that_were_served_so(raw: float, true: float) -> None:
    promise = Promise(0.01, 0.02)
    for _ in range(300):
        promise.compared(raw, min(raw * true, 1.0), 1.0, fits=False)
    before = promise.risk(raw)
    promise.told_wrong(before)
    assert promise.risk(raw) > before


@given(st.floats(0.0005, 0.2), st.floats(0, 1), st.integers(0, 3))
def test_a_request_can_only_tighten(max_error: float, asked: float, seed: int) -> None:
    known = scope(seed, max_error).play(300, max_error).promise
    own, found = deepcopy(known).threshold(max_error), known.threshold(asked)
    assert 0 <= found <= own
    assert found == own or asked < max_error


@pytest.mark.parametrize(("max_error", "asked"), [(0.0, None), (0.0, 0.2), (0.05, 0.0)])
def test_without_accepted_errors_nothing_is_served_by_meaning(max_error: float, asked: float | None) -> None:
    run = scope(1, max_error, shape=(0.05, 50.0)).play(3000, max_error, asked=asked)
    assert run.served == 0


# --- probes


@given(st.floats(0, 0.25), st.integers(0, 10_000))
def test_something_is_always_probed_and_never_most(risk: float, probes: int) -> None:
    promise = Promise(0.01, 0.02)
    promise.figures.probes = probes
    assert 0.01 <= promise.chance_of_probe(risk) <= 0.3


def test_the_riskier_and_the_less_known_is_probed_more() -> None:
    promise = Promise(0.01, 0.02)
    assert promise.chance_of_probe(0.01) > 0.2
    promise.figures.probes = 10_000
    assert promise.chance_of_probe(0.01) == pytest.approx(0.02, rel=0.01)
    assert promise.chance_of_probe(0.04) == pytest.approx(2 * promise.chance_of_probe(0.01))


# --- what is known of it


def test_before_the_first_request_nothing_is_known() -> None:
    standing = Promise(0.01, 0.02).standing()
    assert (standing.requests, standing.expected, standing.at_most, standing.at_least) == (0, None, None, 0.0)


def test_how_it_stands() -> None:
    promise = Promise(0.01, 0.02)
    promise.counted(1000, 200, 4.0)
    promise.compared(0.001, 0.0, 0.05, fits=True)
    promise.compared(0.001, 0.0, 1.0, fits=False)
    standing = promise.standing()
    assert (standing.requests, standing.served, standing.probes, standing.promised) == (1000, 200, 1, 0.01)
    assert standing.expected == pytest.approx(0.004)
    assert standing.at_most == pytest.approx(wrong_at_most(4.0) / 1000)
    assert (standing.alarm, standing.alarms) == (False, 0)


def test_what_only_this_worker_saw_does_not_change_what_all_learn() -> None:
    """Workers learn the same from the log, in alarm too, whatever they looked at themselves."""
    busy, idle = Promise(0.01, 0.02), Promise(0.01, 0.02)
    random = Random(8)
    for at in range(1200):
        raw = random.betavariate(0.5, 12)
        lesson = raw, float(random.random() < raw * (8 if at > 300 else 1)), random.choice([0.05, 1.0])
        for promise in (busy, idle):
            promise.compared(*lesson, fits=lesson[2] < 1)
            promise.counted(5, 1, 0.002)
        for _ in range(3):
            busy.saw(raw)
            busy.threshold(0.01)
            busy.serves(0.01)
    assert busy.figures.alarms > 0
    assert busy.figures == idle.figures


def test_figures_of_another_version_are_not_whole() -> None:
    assert Figures().is_whole()
    for name in ("wrong", "expected", "bets", "proofs"):
        assert not msgspec.structs.replace(Figures(), **{name: [0.0]}).is_whole()
