"""Keeps the share of wrong answers below what the operator accepts, and measures it.

**The promise.** Every answer served by meaning is booked with its risk, the calibrated probability that it is wrong. Let A be the sum of
these risks and F the number of wrong ones among what was served. While the risks are not too small on average given the past,
exp(l F - (e^l - 1) A) is a supermartingale for every l > 0, so by Ville's inequality F <= U(A) := min over l of
((e^l - 1) A + ln(k / alpha)) / l at all times at once, with probability 1 - alpha (k values of l). Nothing is served that would lift U(A)
over max_error times the requests so far.

**Its assumption is tested.** A share of what could be served is sent to the model instead, chosen by a coin that knows nothing of the
answer. A bet against the risks (a Shiryaev-Roberts sum of likelihood ratios over these probes; Pollak 1985) gains where they are too small;
when it has gained too much, the alarm sends the scope back to zero-trust until they fit again.

The alarm also rings when the probes prove more than max_error wrong, assuming nothing but the coin: a wrong answer that could be served is
probed with probability e and served with 1 - e, so with (1 - e) exp(-l) + e exp(g) = 1 exp(sum of g over wrong probes - l F) is a
martingale, and F is at least (that sum - ln(k / alpha)) / l at all times at once with probability 1 - alpha.
"""

from bisect import bisect_right
from math import exp, log, nextafter, sqrt
from typing import Final

import msgspec

ALPHA: Final = 0.05
_BETS: Final = (0.1, 0.2, 0.35, 0.6, 1.0, 1.6)
"""values of l: small ones are sharp when much was served, large ones at the beginning"""
_CLASSES: Final = tuple(2.0**power for power in range(-11, 0))
"""upper bounds of classes of raw risk"""
_DOUBT: Final = 1.6
"""how many times larger than judged risks are taken to be before there is experience with them"""
_NEIGHBOURS: Final = 3.0
"""expected wrong answers of a next class that count, at most: what was never served must not outvote what is"""
_MEMORY: Final = 0.9995
"""what is kept of experience with every further comparison"""
_RISKIEST: Final = 0.25
"""nothing riskier is ever served"""
_AHEAD: Final = 1500
"""requests over which what is left of the budget is spent, at least"""
_ENOUGH: Final = 200.0
"""requests looked at that tell what is to be expected"""
_GRID: Final = tuple(exp(log(1e-4) + step * (log(0.5) - log(1e-4)) / 63) for step in range(64))
"""bounds of classes of risk in which candidates are counted"""
_PATIENCE: Final = 25
"""decisions for which a threshold holds"""
_WORSE: Final = (2.0, 5.0)
"""how many times too small the risks are, in the bets against them"""
_SMALLEST: Final = 1e-4
"""no bet takes a risk for smaller"""
_ALARM: Final = 400.0
"""probes that pass on average before a false alarm, at least"""
_TRIAL: Final = 150
"""comparisons that an alarm lasts, at least"""
_PROOFS: Final = (0.01, 0.03, 0.1, 0.3)
"""values of l in the lower bound of wrong answers"""


def wrong_at_most(risk: float) -> float:
    """U(A): how many of the served answers are wrong at most, at all times at once with probability 1 - `ALPHA`."""
    room = log(len(_BETS) / ALPHA)
    return min(((exp(bet) - 1) * risk + room) / bet for bet in _BETS)


def risk_for(wrong: float) -> float:
    """The sum of risks A at which U(A) reaches so many wrong answers; below 0: none may be served yet."""
    room = log(len(_BETS) / ALPHA)
    return max((bet * wrong - room) / (exp(bet) - 1) for bet in _BETS)


class Standing(msgspec.Struct, frozen=True):
    """How a scope keeps its promise. Shares are of all requests."""

    requests: int
    served: int
    """by meaning; in shadow mode: what would have been served"""
    probes: int
    promised: float
    expected: float | None
    """wrong answers as the risks say; None: no request yet"""
    at_most: float | None
    """what the promise bounds them by"""
    at_least: float
    """what the probes prove: with probability 1 - `ALPHA` no time comes at which fewer were wrong"""
    alarm: bool
    alarms: int


class Figures(msgspec.Struct):
    """All that a promise remembers."""

    requests: int = 0
    served: int = 0
    risk: float = 0.0
    """A"""
    wrong: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(_CLASSES) + 1))
    """seen wrong by class of raw risk, old ones fading"""
    expected: list[float] = msgspec.field(default_factory=lambda: [0.0] * (len(_CLASSES) + 1))
    bets: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_WORSE))
    alarm: bool = False
    alarms: int = 0
    riskiest: float = 0.0
    """the largest risk that would have been served lately"""
    trial: int = 0
    trial_wrong: float = 0.0
    trial_expected: float = 0.0
    probes: int = 0
    proofs: list[float] = msgspec.field(default_factory=lambda: [0.0] * len(_PROOFS))
    """sums of g over wrong probes, by l"""

    def is_whole(self) -> bool:
        """Whether its lists are as long as those of this version."""
        classes = len(_CLASSES) + 1
        return (len(self.wrong), len(self.expected), len(self.bets), len(self.proofs)) == (classes, classes, len(_WORSE), len(_PROOFS))


class Promise:
    """The error control of one scope. `max_error`: share of requests; `probe`: about the share of candidates that is probed."""

    def __init__(self, max_error: float, probe: float) -> None:
        self._max_error, self._probe = max_error, probe
        self.figures = Figures()
        self._seen = [0.0] * len(_GRID)
        self._looked = 0.0
        self._threshold = 0.0
        self._due = 0
        self._unheard = 0.0

    @property
    def alarm(self) -> bool:
        return self.figures.alarm

    def risk(self, raw: float) -> float:
        """A raw risk as experience with its class has corrected it: upwards by a standard deviation of what was seen, for what is served
        next should be no worse than it is booked. The next classes count for a little, so that little experience is not believed."""
        f, at = self.figures, bisect_right(_CLASSES, raw)
        seen, due = f.wrong[at], f.expected[at]
        for near in (at - 1, at + 1):
            if 0 <= near < len(f.expected):
                weight = 0.5 * min(1.0, _NEIGHBOURS / max(f.expected[near], 1e-9))
                seen, due = seen + weight * f.wrong[near], due + weight * f.expected[near]
        return min(raw * (_DOUBT + seen + sqrt(seen)) / (1.0 + due), 1.0)

    def threshold(self, max_error: float) -> float:
        """The most risk that is served now; a smaller `max_error` than the operator's scales it down."""
        if self._due <= 0:
            self._due, self._threshold = _PATIENCE, self._affordable()
        self._due -= 1
        return self._threshold * min(max_error / self._max_error, 1.0) if self._max_error else 0.0

    def affords(self, risk: float) -> bool:
        """Whether one more answer of this risk keeps the promise, with those that were served here and not counted yet."""
        return self.figures.risk + self._unheard + risk <= risk_for(self._max_error * self.figures.requests)

    def serves(self, risk: float) -> None:
        """An answer of this risk is served; a later count tells of it."""
        self._unheard += risk

    def chance_of_probe(self, risk: float) -> float:
        """The riskier, the more: that is where the errors are (Neyman allocation); and more while little is known."""
        share = self._probe * sqrt(risk / 0.01) * (1 + 20 / (1 + self.figures.probes))
        return min(max(share, self._probe / 2), 0.3)

    def saw(self, risk: float | None) -> None:
        """A request was looked at whose best entry has this risk; None: it had none."""
        fade = _MEMORY
        self._looked = self._looked * fade + 1
        self._seen = [count * fade for count in self._seen]
        if risk is not None:
            self._seen[min(bisect_right(_GRID, risk), len(_GRID) - 1)] += 1

    def counted(self, requests: int, served: int, risk: float, *, own: bool = True) -> None:
        """So many more requests came, of which so many were served by meaning, with this sum of risks. `own`: this process served them."""
        f = self.figures
        if own:
            self._unheard = 0.9 * max(self._unheard - risk, 0.0)  # what came to nothing after all is never counted: it fades
        f.requests, f.served, f.risk = f.requests + requests, f.served + served, f.risk + risk

    def compared(self, raw: float, wrong: float, propensity: float, fits: bool) -> None:
        """What a fresh answer said of the best entry, of this raw risk: 1 where its answer is wrong, else 0.

        `propensity`: with which the request was sent to the model; `fits`: whether it would have been served else.
        """
        f, risk, at = self.figures, self.risk(raw), bisect_right(_CLASSES, raw)
        f.wrong = [count * _MEMORY for count in f.wrong]
        f.expected = [count * _MEMORY for count in f.expected]
        f.wrong[at] += wrong
        f.expected[at] += raw
        if not fits and not f.alarm:
            return
        if propensity < 1:
            f.probes += 1
            f.proofs = [sum_ + wrong * _proof(bet, propensity) for sum_, bet in zip(f.proofs, _PROOFS, strict=True)]
        if f.alarm:
            if risk <= f.riskiest:
                self._try_again(risk, wrong)
        else:
            f.riskiest = max(risk, f.riskiest * _MEMORY)
            self._bet(risk, wrong)
            if sum(f.bets) / len(f.bets) > _ALARM or self._at_least() > self._max_error * f.requests:
                f.alarm, f.alarms, f.trial, f.trial_wrong, f.trial_expected = True, f.alarms + 1, 0, 0.0, 0.0
                f.bets, f.proofs = [0.0] * len(_WORSE), [0.0] * len(_PROOFS)

    def told_wrong(self, risk: float) -> None:
        """Somebody says that an answer was wrong that was served at this risk. That is no fair sample, so it only makes risks larger."""
        f, ends = self.figures, (0.0, *_CLASSES, 1.0)
        found = [at for at in range(len(f.wrong)) if self.risk(ends[at]) <= risk <= self.risk(nextafter(ends[at + 1], 0.0))]
        f.wrong[max(found, key=lambda at: f.expected[at], default=bisect_right(_CLASSES, risk))] += 1

    def standing(self) -> Standing:
        """As of now."""
        f = self.figures
        share = 1 / f.requests if f.requests else None
        return Standing(
            requests=f.requests,
            served=f.served,
            probes=f.probes,
            promised=self._max_error,
            expected=None if share is None else f.risk * share,
            at_most=None if share is None else wrong_at_most(f.risk) * share,
            at_least=0.0 if share is None else self._at_least() * share,
            alarm=f.alarm,
            alarms=f.alarms,
        )

    def _at_least(self) -> float:
        """So many served answers are wrong at least, since the last alarm."""
        room = log(len(_PROOFS) / ALPHA)
        return max(0.0, *((sum_ - room) / bet for bet, sum_ in zip(_PROOFS, self.figures.proofs, strict=True)))

    def _bet(self, risk: float, wrong: float) -> None:
        f, risk = self.figures, max(risk, _SMALLEST)
        for at, worse in enumerate(_WORSE):
            assumed = min(worse * risk, 0.9)
            ratio = wrong * assumed / risk + (1 - wrong) * (1 - assumed) / (1 - min(risk, 0.89))
            f.bets[at] = (1 + f.bets[at]) * ratio

    def _try_again(self, risk: float, wrong: float) -> None:
        f = self.figures
        f.trial, f.trial_wrong, f.trial_expected = f.trial + 1, f.trial_wrong + wrong, f.trial_expected + risk
        if f.trial >= _TRIAL:
            f.alarm = f.trial_wrong > 1.25 * f.trial_expected + 1
            f.trial, f.trial_wrong, f.trial_expected = 0, 0.0, 0.0

    def _affordable(self) -> float:
        """The largest risk at which what is expected to be served spends what is left, evenly over the requests ahead.

        Until enough was looked at, what is not known yet might all have that risk.
        """
        f = self.figures
        ahead = max(_AHEAD, f.requests / 4)
        rate = (risk_for(self._max_error * (f.requests + ahead)) - f.risk) / ahead
        looked = max(self._looked, _ENOUGH)
        spent, affordable = 0.0, 0.0
        for edge, count in zip(_GRID, self._seen, strict=True):
            spent += count * edge
            if edge > _RISKIEST or spent + (looked - self._looked) * edge > rate * looked:
                break
            affordable = edge
        return affordable


def _proof(bet: float, chance: float) -> float:
    """g of a wrong probe that was sent to the model with this chance."""
    return log((1 - (1 - chance) * exp(-bet)) / chance)
