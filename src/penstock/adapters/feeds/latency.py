"""The constants of the latency model that Penstock carries: fitted to published measurements, dated, with their source."""

from functools import cache

from penstock.adapters.feeds.gpus import carried
from penstock.domain.sizing.latency.model import LatencyModel, load


@cache
def latency_model() -> LatencyModel:
    """Raises `ModelError` where the file is not as it should be, `ImportError` without numpy (extra `capacity`)."""
    return load(carried("latency.json"))
