"""What the simulated engine counts, under vLLM's names and with vLLM's buckets."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

FIRST_TOKEN_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560)
INTER_TOKEN_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
REQUEST_S = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)


class Histogram:
    """Counts by upper bound; plain integers, for it is fed at every step."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        return sum(self._counts)

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bound -> observations up to it."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


class EngineMetrics:
    """All series carry the label `model_name`. Prefix counters count tokens, as vLLM's do."""

    def __init__(self, model_name: str) -> None:
        self._model_name = model_name
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.successes: dict[str, int] = {"stop": 0, "length": 0, "abort": 0}
        self.time_to_first_token = Histogram(FIRST_TOKEN_S)
        self.inter_token = Histogram(INTER_TOKEN_S)
        self.latency = Histogram(REQUEST_S)
        self.queue_time = Histogram(REQUEST_S)
        self.prefill_time = Histogram(REQUEST_S)
        self.decode_time = Histogram(REQUEST_S)

    def looked_up(self, tokens: int, hits: int) -> None:
        self.prefix_queries += tokens
        self.prefix_hits += hits

    def first_token(self, prompt_tokens: int, seconds: float) -> None:
        self.prompt_tokens += prompt_tokens
        self.time_to_first_token.observe(seconds)

    def finished(self, reason: str) -> None:
        # vLLM knows no `tool_calls` at this level: the engine stopped, the front end named it.
        reason = "stop" if reason == "tool_calls" else reason
        self.successes[reason] = self.successes.get(reason, 0) + 1

    def render(self, running: int, waiting: int, kv_usage: float) -> bytes:
        """Prometheus text."""
        gauges = {
            "vllm:num_requests_running": ("Number of requests in model execution batches.", running),
            "vllm:num_requests_waiting": ("Number of requests waiting to be processed.", waiting),
            "vllm:kv_cache_usage_perc": ("KV-cache usage. 1 means 100 percent usage.", kv_usage),
        }
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families([*self._gauges(gauges), *self._counters(), *self._histograms()]))
        return generate_latest(registry)

    def _gauges(self, values: dict[str, tuple[str, float]]) -> Iterator[Metric]:
        for name, (text, value) in values.items():
            gauge = GaugeMetricFamily(name, text, labels=["model_name"])
            gauge.add_metric([self._model_name], value)
            yield gauge

    def _counters(self) -> Iterator[Metric]:
        counts = {
            "vllm:prompt_tokens": ("Number of prefill tokens processed.", self.prompt_tokens),
            "vllm:generation_tokens": ("Number of generation tokens processed.", self.generation_tokens),
            "vllm:prefix_cache_queries": ("Prefix cache queries, in terms of number of queried tokens.", self.prefix_queries),
            "vllm:prefix_cache_hits": ("Prefix cache hits, in terms of number of cached tokens.", self.prefix_hits),
        }
        for name, (text, value) in counts.items():
            counter = CounterMetricFamily(name, text, labels=["model_name"])
            counter.add_metric([self._model_name], value)
            yield counter
        success = CounterMetricFamily("vllm:request_success", "Count of finished requests.", labels=["model_name", "finished_reason"])
        for reason, value in self.successes.items():
            success.add_metric([self._model_name, reason], value)
        yield success

    def _histograms(self) -> Iterator[Metric]:
        histograms = {
            "vllm:time_to_first_token_seconds": ("Time to first token in seconds.", self.time_to_first_token),
            "vllm:inter_token_latency_seconds": ("Inter-token latency in seconds.", self.inter_token),
            "vllm:e2e_request_latency_seconds": ("End-to-end request latency in seconds.", self.latency),
            "vllm:request_queue_time_seconds": ("Time spent in WAITING phase.", self.queue_time),
            "vllm:request_prefill_time_seconds": ("Time spent in PREFILL phase.", self.prefill_time),
            "vllm:request_decode_time_seconds": ("Time spent in DECODE phase.", self.decode_time),
        }
        for name, (text, histogram) in histograms.items():
            family = HistogramMetricFamily(name, text, labels=["model_name"])
            family.add_metric([self._model_name], histogram.buckets(), histogram.sum)
            yield family


class _Families(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families
