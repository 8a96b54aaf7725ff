"""Which metrics and labels a PromQL expression names; enough of its grammar for ours, the rest is Prometheus' own to judge."""

import re

from penstock.ports.metrics import FROM_PROCESSES, FROM_RECORDS, Metric

TABLE = {metric.name: metric for metric in (*FROM_RECORDS, *FROM_PROCESSES)}
_SERIES = re.compile(r"\b((?:penstock|gen_ai)_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"')
_GROUPED = re.compile(r"\b(?:by|on|ignoring) \(([^)]*)\)")


def metric_of(series: str) -> Metric:
    """The metric of a series' name, histogram suffixes taken off. Raises `KeyError` when the table has none."""
    return TABLE.get(series) or TABLE[re.sub(r"_(bucket|sum|count)$", "", series)]


def metrics_in(expr: str) -> set[str]:
    return {metric_of(name).name for name, _ in _SERIES.findall(expr)}


def unknown_labels(expr: str, tags: set[str]) -> set[str]:
    """Labels that no series of the expression can carry."""
    wrong: set[str] = set()
    everywhere = {"job", "instance", "$by"}
    seen: set[str] = set(everywhere)
    for name, matchers in _SERIES.findall(expr):
        metric = metric_of(name)
        own = {*metric.labels, *everywhere, *(tags if metric.tagged else ()), *(("le",) if metric.buckets else ())}
        seen |= own
        wrong |= {label for label in _MATCHER.findall(matchers) if label not in own}
    for group in _GROUPED.findall(expr):
        wrong |= {label.strip() for label in group.split(",") if label.strip() not in seen}
    return wrong
