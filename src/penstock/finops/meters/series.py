"""Which series are a fleet's: what is asked of a Prometheus about it, and how its GPUs, slices and models are told apart."""

from collections.abc import Iterable, Mapping

import msgspec

from penstock.config.hardware import FleetMetrics
from penstock.config.settings import Settings
from penstock.finops.meters.samples import BEFORE, Grid, Samples, merged
from penstock.ports.telemetry import Meter, MeterNames, Series, Telemetry

ALIVE = 'count({__name__=~"up|prometheus_build_info"})'
"""has a point whenever Prometheus itself was at work"""
UP = Meter("up", "prometheus", "", "prometheus.io/docs/concepts/jobs_instances", "2026-11-21")
KINDS = ("present", "active", "busy", "energy", "power", "prefill", "decode")
Identity = tuple[tuple[str, str], ...]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings say about one fleet's meters."""

    fleet: str
    gpu: str
    mig: str | None = None
    match: dict[str, str] = {}
    metrics: FleetMetrics = FleetMetrics()
    runs: bool = False
    """when it ran is asked as well"""
    models: tuple[str, ...] = ()
    """what the engines call the models that it serves"""
    alone: bool = True
    """without `match`, all series are its own: there is no other fleet"""

    @property
    def told_apart(self) -> bool:
        return self.alone or bool(self.match)


def question(settings: Settings, name: str) -> Question:
    """The question about a fleet of the config."""
    fleet = settings.fleets[name]
    served = [model.name or key for key, model in settings.models.items() if model.upstream == fleet.upstream]
    return Question(
        fleet=name,
        gpu=fleet.gpu,
        mig=fleet.mig,
        match=fleet.match,
        metrics=fleet.metrics,
        runs=fleet.runs == "prometheus",
        models=tuple(dict.fromkeys(served)),
        alone=len(settings.fleets) == 1,
    )


def selector(meters: Iterable[Meter], match: Mapping[str, str]) -> str:
    """The PromQL of all series of these meters within the labels."""
    named = "|".join(dict.fromkeys(meter.name for meter in meters))
    return "{" + ",".join([f'__name__=~"{named}"', *(f"{label}={_quoted(value)}" for label, value in match.items())]) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


class Answers:
    """What a Prometheus told of one fleet over a span; asked when it is made. Raises `TelemetryError`."""

    def __init__(self, telemetry: Telemetry, asked: Question, grid: Grid) -> None:
        self._telemetry = telemetry
        self.asked, self.grid, self.names = asked, grid, telemetry.names
        self._notes: dict[str, None] = {}
        self._dropped = 0
        self.alive = {index for series in self.range(ALIVE) for index in grid.samples(series)}
        """instants at which Prometheus was at work"""
        self._standard: dict[str, list[Series]] = {}
        if self.seen and not asked.told_apart:
            self.note("its series cannot be told from those of other fleets: give it `match`")
        elif self.seen:
            for series in self.range(selector(self._wanted(), asked.match)):
                self._standard.setdefault(series.labels.get("__name__", ""), []).append(series)

    @property
    def seen(self) -> int:
        """Instants of the span at which Prometheus was at work."""
        return sum(0 <= index < self.grid.count for index in self.alive)

    def note(self, text: str) -> None:
        """Each is said once."""
        self._notes[text] = None

    def notes(self) -> str:
        said = list(self._notes)
        if self._dropped:
            said.append(f"{self._dropped} readings were no numbers")
        return "; ".join(said)

    def _wanted(self) -> list[Meter]:
        own = {kind for kind in ("active", "power", "prefill", "decode") if getattr(self.asked.metrics, kind) is not None}
        own |= {"energy"} if "power" in own else set()
        wanted = [meter for kind in KINDS if kind not in own for meter in getattr(self.names, kind)]
        return [*wanted, UP] if self.asked.runs and self.asked.match else wanted

    def range(self, promql: str) -> list[Series]:
        grid = self.grid
        found = self._telemetry.range(promql, grid.at_s(-BEFORE), grid.at_s(grid.count), grid.step_s)
        self._dropped += sum(len(series.dropped) for series in found)
        return found

    def instant(self, promql: str) -> list[Series]:
        return self._telemetry.instant(promql, self.grid.at_s(self.grid.count))

    def of(self, meter: Meter) -> list[Series]:
        """Series of a standard meter that are this fleet's."""
        return [each for each in self._standard.get(meter.name, ()) if self.fits(each, meter)]

    def fits(self, series: Series, meter: Meter) -> bool:
        """Whether a series is this meter's, and of the fleet's kind: whole cards, or slices of its profile."""
        if any(series.labels.get(label) != value for label, value in meter.where.items()):
            return False
        if meter.of != "dcgm-exporter":
            return True
        labels, mig = self.names.labels, self.asked.mig
        profile = next((series.labels.get(labels.profile, "") for label in labels.slice if series.labels.get(label)), None)
        return profile is None if mig is None else profile is not None and same_profile(profile, mig)

    def samples(self, series: Series, meter: Meter) -> dict[int, float]:
        """Readings in seconds, watts, joules or shares of 1; what stands for `not supported` is left out."""
        found = self.grid.samples(series).items()
        return {index: value * meter.scale for index, value in found if meter.blank is None or value < meter.blank}

    def gpus(self, kind: str) -> dict[Identity, dict[int, float]]:
        """Readings by GPU (or slice), each by the preferred name that it is told under."""
        gpus: dict[Identity, dict[int, float]] = {}
        for meter in getattr(self.names, kind):
            parts: dict[Identity, list[Samples]] = {}
            for series in self.of(meter):
                if samples := self.samples(series, meter):
                    parts.setdefault(gpu_of(series, self.names), []).append(samples)
            for gpu, several in parts.items():
                gpus.setdefault(gpu, merged(several))
        return gpus

    def profiles(self, kind: str) -> set[str]:
        """MIG profiles among all series of a reading, the fleet's or not; empty text: whole cards."""
        labels = self.names.labels
        found = [series.labels for meter in getattr(self.names, kind) for series in self._standard.get(meter.name, ())]
        return {each.get(labels.profile, "?") if any(each.get(label) for label in labels.slice) else "" for each in found}


def same_profile(told: str, configured: str) -> bool:
    return told.strip().lower() == configured.strip().lower().removeprefix("mig-")


def gpu_of(series: Series, names: MeterNames) -> Identity:
    """What makes a GPU (or slice) one across series: its own labels, else all of them."""
    labels = series.labels
    slices = [(label, labels[label]) for label in names.labels.slice if labels.get(label)]
    for several in names.labels.gpu:
        if all(labels.get(label) for label in several):
            return tuple([(label, labels[label]) for label in several] + slices)
    return tuple(sorted((label, value) for label, value in labels.items() if label != "__name__"))
