"""PromQL over the table of metrics: a name or a label that the table does not have cannot be written."""

from collections.abc import Sequence

import msgspec

from penstock.ports.metrics import Metric

JOB = "job"
"""the label that Prometheus itself puts on what it scrapes: tells several Penstocks apart"""


class UnknownLabel(ValueError):
    """A metric does not have this label."""


class Selection(msgspec.Struct, frozen=True):
    """Which series are looked at: `filters` are matchers by label, put onto every metric that has the label.

    `tags` are the labels of the declared tags, `window` the range of rates.
    """

    tags: tuple[str, ...]
    window: str
    filters: tuple[tuple[str, str], ...] = ()

    def labels_of(self, metric: Metric) -> tuple[str, ...]:
        """Every label that a series of this metric carries in Prometheus (`instance` and `le` aside)."""
        return (JOB, *metric.labels, *(self.tags if metric.tagged else ()))

    def series(self, metric: Metric, *matchers: str, suffix: str = "") -> str:
        """`name{...}`. `matchers` are written as in PromQL. Raises `UnknownLabel`."""
        labels = self.labels_of(metric)
        for matcher in matchers:
            label = matcher.split("=")[0].rstrip("!")
            if label not in labels:
                raise UnknownLabel(f"{metric.name} has the labels {', '.join(labels)}, not {label}")
        given = [f"{label}{matcher}" for label, matcher in self.filters if label in labels]
        inside = ",".join([*given, *matchers])
        return f"{metric.name}{suffix}{{{inside}}}" if inside else f"{metric.name}{suffix}"

    def rate(self, metric: Metric, *matchers: str, by: Sequence[str] = ()) -> str:
        """Per second, summed."""
        return self._summed(f"rate({self.series(metric, *matchers)}[{self.window}])", by)

    def gained(self, metric: Metric, *matchers: str, by: Sequence[str] = ()) -> str:
        """What was added over the window, summed."""
        return self._summed(f"increase({self.series(metric, *matchers)}[{self.window}])", by)

    def quantile(self, share: float, metric: Metric, *, by: Sequence[str] = ()) -> str:
        """A quantile of a histogram, linear within a bucket."""
        rates = self._summed(f"rate({self.series(metric, suffix='_bucket')}[{self.window}])", ("le", *by))
        return f"histogram_quantile({share:g}, {rates})"

    def _summed(self, inner: str, by: Sequence[str]) -> str:
        return f"sum by ({', '.join(by)}) ({inner})" if by else f"sum({inner})"


def share(part: str, whole: str) -> str:
    """Part of a whole: 0 where the part has no series, nothing where the whole is 0. Both are sums by the same labels."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"
