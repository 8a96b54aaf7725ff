"""Where the GPUs' and engines' own meters are read."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from penstock.bootstrap.ledger import open_costs
from penstock.config.problems import ConfigError, error, join
from penstock.config.secrets import reveal
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.finops.meters.collector import Collector
    from penstock.ports.telemetry import Telemetry
    from penstock.ports.usage_store import UsageStore


def open_telemetry(settings: Settings, environ: Mapping[str, str]) -> "Telemetry | None":
    """The Prometheus of the config; None where none is named. Raises `ConfigError` for a secret that is not set or cannot be sent."""
    given = settings.telemetry
    if given.prometheus is None:
        return None
    from penstock.adapters.telemetry.prometheus import Prometheus
    from penstock.ports.telemetry import TelemetryError

    headers = {
        name: value if isinstance(value, str) else reveal(value, environ, join("telemetry.prometheus_headers", name))
        for name, value in given.prometheus_headers.items()
    }
    try:
        return Prometheus(given.prometheus, headers)
    except TelemetryError as problem:
        raise ConfigError([error("telemetry.prometheus", str(problem), problem.hint)]) from None


def collector(
    settings: Settings,
    environ: Mapping[str, str],
    store: "UsageStore",
    log: Callable[[str], None],
    observe: "Callable[[Sequence[tuple[str, int]]], None]",
) -> "Collector | None":
    """Keeps what the meters tell; None where there are none."""
    telemetry = open_telemetry(settings, environ)
    if telemetry is None or not settings.fleets:
        return None
    from penstock.finops.meters.collector import Collector

    return Collector(settings, telemetry, store, open_costs(settings), log, observe=observe)
