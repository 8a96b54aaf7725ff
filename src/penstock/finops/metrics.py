"""Counts records for `/metrics`: plain integers by label tuple while they stream in, Prometheus families only at a scrape.

Money is summed as integers of nano-USD and becomes a float only in the text of the answer, for that format knows no other.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from penstock.domain.dialects.tokens import Tokens
from penstock.domain.ledger.measures import sums_of
from penstock.domain.ledger.record import REPLAYED, Attempt, CacheDecision, UsageRecord, is_aside
from penstock.domain.ledger.routed import RouteDecision
from penstock.domain.prices.rates import TOKEN_CLASSES
from penstock.domain.units import NANO_PER_USD
from penstock.finops.savings import replayed_worth
from penstock.ports import metrics as names
from penstock.ports.metrics import Metric, tag_labels

Labels = tuple[str | None, ...]
Gauges = Mapping[str, Sequence[tuple[tuple[str, ...], float]]]
"""metric name -> (label values in the table's order, value); equal label sets, as of several workers, are added up"""

OTHER = "other"
_FIXED_COUNT = len(names.TAGGED)
_DURATION_US = tuple(round(bound * 1_000_000) for bound in names.SECONDS)
_FIRST_US = tuple(round(bound * 1_000_000) for bound in names.FIRST_TOKEN_SECONDS)
_ATTEMPT_KINDS = frozenset({"connect", "timeout", "reset", "protocol"})


class UnknownMetric(ValueError):
    """A gauge that the table of metrics does not list, or with another number of labels."""


class _Counts:
    """What is counted for one label set. Tokens stand in the order of `TOKEN_CLASSES`."""

    __slots__ = (
        "aside_cost", "asides", "asides_unpriced", "avoided", "cache", "compared_cost", "cost", "counterfactual", "embedding", "estimated",
        "outcomes", "priced_tokens", "refused", "tokens", "unpriced", "wasted",
    )  # fmt: skip

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.cache: dict[str, int] = {}
        self.avoided: dict[str, int] = {}
        self.refused: dict[int, int] = {}
        self.asides: dict[str, int] = {}
        self.aside_cost: dict[str, int] = {}
        self.tokens = [0, 0, 0, 0, 0]
        self.cost = self.wasted = self.embedding = self.counterfactual = self.compared_cost = 0
        self.priced_tokens = self.unpriced = self.estimated = self.asides_unpriced = 0


class _Spread:
    """Histograms of one label set: counts per bucket (the last is +Inf), sums in microseconds or tokens."""

    __slots__ = ("duration", "duration_us", "first", "first_us", "input", "input_sum", "output", "output_sum")

    def __init__(self) -> None:
        self.duration = [0] * (len(_DURATION_US) + 1)
        self.first = [0] * (len(_FIRST_US) + 1)
        self.input = [0] * (len(names.TOKENS) + 1)
        self.output = [0] * (len(names.TOKENS) + 1)
        self.duration_us = self.first_us = self.input_sum = self.output_sum = 0


class MetricsAggregator:
    """Counters and histograms over records, with a bound on label sets. Not thread-safe: feed and render in one thread."""

    def __init__(
        self, declared_tags: Sequence[str], version: str, *, providers: Mapping[str, str] | None = None, max_series: int = 1000
    ) -> None:
        """`providers` maps an upstream to its `gen_ai.provider.name`; others go by the upstream's own name."""
        labels = tag_labels(declared_tags)
        self._tags, self._tag_labels = tuple(labels), tuple(labels.values())
        self._version = version
        self._providers = dict(providers or {})
        self._bound = max_series
        self._counts: dict[Labels, _Counts] = {}
        self._spreads: dict[Labels, _Spread] = {}
        self._attempts: dict[tuple[str, str], int] = {}
        self._lookups: dict[tuple[str, str], int] = {}
        self._stages: dict[tuple[str, str, str, str], int] = {}
        self._embeddings, self._embedding_us = [0] * (len(_FIRST_US) + 1), 0
        self._dropped = 0

    def observe(self, records: Iterable[UsageRecord]) -> None:
        """Count a batch of records that are new to the ledger."""
        for record in records:
            if record.attempts:
                self._attempted(record.attempts)
            elif record.replica is not None and record.upstream is not None:
                key = (record.upstream, "ok")
                self._attempts[key] = self._attempts.get(key, 0) + 1
            counts = self._counts_of(record)
            if is_aside(record):
                _beside(counts, record)
                continue
            if record.outcome == "refused":
                counts.refused[record.status] = counts.refused.get(record.status, 0) + 1
                continue
            outcome, cache, tokens, cost = record.outcome, record.cache, record.tokens, record.cost
            counts.outcomes[outcome] = counts.outcomes.get(outcome, 0) + 1
            counts.cache[cache] = counts.cache.get(cache, 0) + 1
            _work(counts, tokens)
            if cost is None:
                counts.unpriced += 1
            else:
                counts.cost += cost
                counts.wasted += record.wasted_cost or 0
                counts.embedding += record.embedding_cost or 0
                counts.priced_tokens += tokens.total
                counts.estimated += record.cost_basis == "estimated"
                if record.counterfactual is not None:
                    counts.counterfactual += record.counterfactual
                    counts.compared_cost += cost
                    if cache in REPLAYED:
                        counts.avoided[cache] = counts.avoided.get(cache, 0) + replayed_worth(sums_of(record))
            if record.cache_decision is not None:
                self._looked(record.cache_decision)
            if record.route_decision is not None:
                self._judged(record.requested_model or "", record.route_decision)
            self._spread(record)

    def render(self, gauges: Gauges) -> bytes:
        """The answer to a scrape. Raises `UnknownMetric` for a gauge that the table does not list."""
        return generate_latest(_Families([*self._families(), *_gauge_families(gauges)]))

    def _counts_of(self, record: UsageRecord) -> _Counts:
        key: Labels = (
            record.model,
            record.tier,
            record.upstream,
            _endpoint(record.endpoint),
            record.sla,
            *map(record.tags.get, self._tags),
        )
        counts = self._counts.get(key)
        if counts is None:
            key = self._bounded(key, self._counts)
            counts = self._counts.setdefault(key, _Counts())
        return counts

    def _bounded(self, key: Labels, table: Mapping[Labels, object]) -> Labels:
        """The key itself while there is room, else with `other` for the tags, at twice the bound with `other` for all."""
        if len(table) < self._bound:
            return key
        self._dropped += 1
        folded = (*key[:_FIXED_COUNT], *(OTHER for _ in self._tags))
        return folded if folded in table or len(table) < 2 * self._bound else (OTHER,) * len(key)

    def _spread(self, record: UsageRecord) -> None:
        error = None if record.outcome == "ok" else record.outcome
        key: Labels = (record.model, record.tier, record.upstream, _endpoint(record.endpoint), record.response_model, error)
        spread = self._spreads.get(key)
        if spread is None:
            if len(self._spreads) >= self._bound:
                self._dropped += 1
                key = (OTHER,) * len(key)
            spread = self._spreads.setdefault(key, _Spread())
        spread.duration[bisect_left(_DURATION_US, record.duration_us)] += 1
        spread.duration_us += record.duration_us
        if record.first_token_us is not None:
            spread.first[bisect_left(_FIRST_US, record.first_token_us)] += 1
            spread.first_us += record.first_token_us
        tokens = record.tokens
        read, written = tokens.uncached_input + tokens.cache_read + tokens.cache_write, tokens.visible_output + tokens.reasoning
        if read or written:
            spread.input[bisect_left(names.TOKENS, read)] += 1
            spread.input_sum += read
            spread.output[bisect_left(names.TOKENS, written)] += 1
            spread.output_sum += written

    def _looked(self, decision: CacheDecision) -> None:
        key = (decision.verdict, decision.mode)
        self._lookups[key] = self._lookups.get(key, 0) + 1
        if decision.embedding_us is not None:
            self._embeddings[bisect_left(_FIRST_US, decision.embedding_us)] += 1
            self._embedding_us += decision.embedding_us

    def _judged(self, route: str, decision: RouteDecision) -> None:
        for judged in decision.stages:
            key = (route, judged.kind, judged.stratum, "yes" if judged.kept else "no")
            self._stages[key] = self._stages.get(key, 0) + 1

    def _attempted(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            key = (attempt.upstream, _attempt_outcome(attempt))
            self._attempts[key] = self._attempts.get(key, 0) + 1

    def _families(self) -> Iterator[Family]:
        counted = [(tuple(label or "" for label in key), counts) for key, counts in self._counts.items()]
        yield self._counter(names.REQUESTS, ((key, word, n) for key, counts in counted for word, n in counts.outcomes.items()))
        yield self._counter(names.REFUSED, ((key, str(status), n) for key, counts in counted for status, n in counts.refused.items()))
        answered = [(key, counts) for key, counts in counted if counts.outcomes or counts.asides]
        yield self._counter(names.ASIDES, ((key, word, n) for key, counts in counted for word, n in counts.asides.items()))
        beside = ((key, word, n / NANO_PER_USD) for key, counts in counted for word, n in counts.aside_cost.items())
        yield self._counter(names.ASIDE_COST, beside)
        yield self._counter(names.ASIDES_UNPRICED, ((key, None, counts.asides_unpriced) for key, counts in counted if counts.asides))
        yield self._counter(
            names.TOKENS_TOTAL,
            ((key, word, n) for key, counts in answered for word, n in zip(TOKEN_CLASSES, counts.tokens, strict=True)),
        )
        yield self._counter(names.CACHE_ANSWERS, ((key, word, n) for key, counts in answered for word, n in counts.cache.items()))
        avoided = ((key, word, n / NANO_PER_USD) for key, counts in answered for word, n in counts.avoided.items())
        yield self._counter(names.CACHE_AVOIDED, avoided)
        yield self._counter(names.EMBEDDING_COST, ((key, None, counts.embedding / NANO_PER_USD) for key, counts in answered))
        yield self._counter(names.PRICED_TOKENS, ((key, None, counts.priced_tokens) for key, counts in answered))
        yield self._counter(names.COST, ((key, None, counts.cost / NANO_PER_USD) for key, counts in answered))
        yield self._counter(names.WASTED, ((key, None, counts.wasted / NANO_PER_USD) for key, counts in answered))
        yield self._counter(names.COUNTERFACTUAL, ((key, None, counts.counterfactual / NANO_PER_USD) for key, counts in answered))
        yield self._counter(names.COMPARED_COST, ((key, None, counts.compared_cost / NANO_PER_USD) for key, counts in answered))
        yield self._counter(names.UNPRICED, ((key, None, counts.unpriced) for key, counts in answered))
        yield self._counter(names.ESTIMATED, ((key, None, counts.estimated) for key, counts in answered))
        yield _plain(names.ATTEMPTS, self._attempts.items())
        yield _plain(names.CACHE_LOOKUPS, self._lookups.items())
        yield _plain(names.ROUTE_STAGES, self._stages.items())
        yield _histogram(names.EMBEDDING_DURATION, [((), self._embeddings, self._embedding_us / 1e6)])
        yield from self._histograms()
        yield _plain(names.DROPPED, [((), self._dropped)])
        yield _plain(names.BUILD, [((self._version,), 1)])

    def _counter(self, metric: Metric, samples: Iterable[tuple[tuple[str, ...], str | None, float]]) -> Family:
        own = metric.labels[_FIXED_COUNT:]
        merged: dict[tuple[str, ...], float] = {}
        for key, word, value in samples:
            # A tag that is empty and one that is not set look the same to Prometheus.
            labels = key if word is None else (*key, word)
            merged[labels] = merged.get(labels, 0) + value
        family = CounterMetricFamily(metric.name, metric.help, labels=(*names.TAGGED, *self._tag_labels, *own))
        for labels, value in merged.items():
            family.add_metric(labels, value)
        return family

    def _histograms(self) -> Iterator[Family]:
        spreads = [(tuple(label or "" for label in key), spread) for key, spread in self._spreads.items()]
        first = [(key, spread.first, spread.first_us / 1e6) for key, spread in spreads]
        duration = [(key, spread.duration, spread.duration_us / 1e6) for key, spread in spreads]
        yield _histogram(names.FIRST_TOKEN, ((key[:4], counts, total) for key, counts, total in first))
        yield _histogram(names.DURATION, ((key[:4], counts, total) for key, counts, total in duration))
        yield _histogram(names.OTEL_TOKENS, self._token_samples(spreads))
        yield _histogram(names.OTEL_DURATION, (((*self._gen_ai(key), key[5]), counts, total) for key, counts, total in duration))
        yield _histogram(names.OTEL_FIRST_TOKEN, ((self._gen_ai(key), counts, total) for key, counts, total in first))

    def _token_samples(self, spreads: Iterable[tuple[tuple[str, ...], _Spread]]) -> Iterator[tuple[tuple[str, ...], list[int], float]]:
        for key, spread in spreads:
            yield (*self._gen_ai(key), "input"), spread.input, spread.input_sum
            yield (*self._gen_ai(key), "output"), spread.output, spread.output_sum

    def _gen_ai(self, key: tuple[str, ...]) -> tuple[str, str, str, str]:
        model, _, upstream, endpoint, response_model, _ = key
        return names.OPERATIONS.get(endpoint, endpoint), self._providers.get(upstream, upstream), model, response_model


class _Families(Collector):
    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _work(counts: _Counts, tokens: Tokens) -> None:
    sums = counts.tokens
    sums[0] += tokens.uncached_input
    sums[1] += tokens.cache_read
    sums[2] += tokens.cache_write
    sums[3] += tokens.visible_output
    sums[4] += tokens.reasoning


def _beside(counts: _Counts, record: UsageRecord) -> None:
    """A call that answered no client: its tokens and its cost count, and it is counted by what it was for, among no requests."""
    if record.outcome == "refused" or record.purpose is None:
        return
    counts.asides[record.purpose] = counts.asides.get(record.purpose, 0) + 1
    _work(counts, record.tokens)
    if record.cost is None:
        counts.asides_unpriced += 1
        return
    counts.cost += record.cost
    counts.aside_cost[record.purpose] = counts.aside_cost.get(record.purpose, 0) + record.cost
    counts.wasted += record.wasted_cost or 0
    counts.compared_cost += record.cost
    counts.priced_tokens += record.tokens.total


def _endpoint(endpoint: str) -> str:
    """The label for an endpoint or a path that was passed through: paths are made up by clients, labels are not."""
    if endpoint in names.METERED:
        return endpoint
    name = endpoint.removeprefix("/v1/").partition("/")[0]
    return name if name in names.PASSED_THROUGH else OTHER


def _attempt_outcome(attempt: Attempt) -> str:
    if attempt.error is None:
        return "ok" if attempt.status is not None and attempt.status < 400 else "status"
    if attempt.error in _ATTEMPT_KINDS:
        return attempt.error
    return "status" if attempt.status is not None and attempt.status >= 400 else OTHER


def _plain(metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind == "counter":
        family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    else:
        family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, samples: Iterable[tuple[tuple[str, ...], list[int], float]]) -> Family:
    """Label sets that fall together here (they were told apart by another metric's labels) are added up."""
    merged: dict[tuple[str, ...], tuple[list[int], float]] = {}
    for key, counts, total in samples:
        before, sum_before = merged.get(key, ([0] * len(counts), 0.0))
        merged[key] = ([a + b for a, b in zip(before, counts, strict=True)], sum_before + total)
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for key, (counts, total) in merged.items():
        running, buckets = 0, []
        for bound, count in zip((*map(str, metric.buckets), "+Inf"), counts, strict=True):
            running += count
            buckets.append((bound, running))
        if running:
            family.add_metric(key, buckets, total)
    return family


def _gauge_families(gauges: Gauges) -> Iterator[Family]:
    table = {metric.name: metric for metric in names.FROM_PROCESSES}
    if unknown := set(gauges) - set(table):
        raise UnknownMetric(f"no such metric: {', '.join(sorted(unknown))}")
    for metric in names.FROM_PROCESSES:
        sums: dict[tuple[str, ...], float] = {}
        for labels, value in gauges.get(metric.name, ()):
            if len(labels) != len(metric.labels):
                raise UnknownMetric(f"{metric.name} has the labels {metric.labels}, not {labels}")
            sums[labels] = sums.get(labels, 0) + value
        if sums:
            yield _plain(metric, sums.items())
