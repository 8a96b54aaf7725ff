"""What is known of wrong answers by scope, for whoever shows it: `ports.cache_truth.CacheTruth` over the log as it was followed last."""

from collections.abc import Sequence

from penstock.config.caching import SemanticCache
from penstock.domain.routing.similarity.promise import Standing
from penstock.finops.caching.following import AnswerLog
from penstock.finops.caching.measuring import measured_error
from penstock.finops.caching.standing import ScopeStanding
from penstock.ports.cache_truth import ScopeTruth


class LogTruth:
    """Made anew with `refresh`, read from other threads meanwhile: what is read is never changed."""

    def __init__(self, log: AnswerLog, settings: SemanticCache) -> None:
        self._log, self._settings = log, settings
        self._scopes: tuple[ScopeTruth, ...] = ()

    def refresh(self) -> None:
        """Takes what the log has come to; in the thread that follows it."""
        self._scopes = tuple(scope_truth(name, scope, kept, self._settings) for name, scope, kept in self._log.scopes())

    def scopes(self) -> Sequence[ScopeTruth]:
        """As of the last look."""
        return self._scopes


def scope_truth(name: str, scope: ScopeStanding, kept: Standing | None, settings: SemanticCache) -> ScopeTruth:
    """One scope in figures: what was measured, and how its judge keeps the promise (`kept`; None: that is not known here)."""
    looked, measured = scope.looked, measured_error(scope.probes)
    alarm = settings.mode == "learned" and kept is not None and kept.alarm
    expected, at_most = (None, None) if kept is None else _expected(kept)
    return ScopeTruth(
        scope=name,
        mode="zero-trust" if alarm else settings.mode,
        requests=looked.requests,
        served=looked.semantic,
        compared=scope.probes.count,
        estimate=None if measured is None else measured.estimate,
        low=None if measured is None else measured.low,
        high=None if measured is None else measured.high,
        expected=expected,
        at_most=at_most,
        promised=None if settings.mode == "zero-trust" else settings.max_error,
        alarm=alarm,
    )


def _expected(kept: Standing) -> tuple[float | None, float | None]:
    """(expected, at most) as shares of requests. The bound of the promise begins above 0, but no more than was served can be wrong."""
    if kept.expected is None or kept.at_most is None:
        return None, None
    return kept.expected, min(kept.at_most, kept.served / kept.requests)
