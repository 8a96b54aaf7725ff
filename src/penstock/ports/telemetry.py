"""Telemetry that others collect: meters of GPUs and engines, asked in PromQL; and what these meters are called."""

from typing import Protocol

import msgspec

Point = tuple[float, float]
"""(unix seconds, value), the value finite"""


class TelemetryError(Exception):
    """Nothing was answered. The message says why (in Prometheus' own words where it gave any), `hint` what to do.

    `refused`: this very question cannot be answered, whenever it is asked; otherwise it may be asked again later.
    """

    def __init__(self, message: str, hint: str = "", *, refused: bool = False) -> None:
        super().__init__(message)
        self.hint = hint
        self.refused = refused


class Series(msgspec.Struct, frozen=True):
    """One series of an answer. An instant without a point is unknown, never 0."""

    labels: dict[str, str]
    points: tuple[Point, ...]
    dropped: tuple[float, ...] = ()
    """unix seconds of points that were no numbers: NaN and infinities"""


class Meter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One name under which an engine or exporter tells a reading."""

    name: str
    of: str
    """the engine or exporter"""
    since: str
    """version from which it has been called so, and how it is switched on, as far as known"""
    source: str
    checked: str
    """date on which somebody looked there"""
    scale: float = 1.0
    """times this it is in seconds, watts, joules or a share of 1"""
    where: dict[str, str] = {}
    """labels that single it out"""
    blank: float | None = None
    """values from here on stand for `not supported`"""


class MeterLabels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Labels that carry meaning."""

    model: tuple[str, ...]
    """the model that an engine serves, by the first one that is there"""
    gpu: tuple[tuple[str, ...], ...]
    """what makes a GPU one: the first set whose labels are all there"""
    slice: tuple[str, ...]
    """there (and not empty) on series of MIG slices only: the slice within its GPU"""
    profile: str
    """MIG profile of a slice"""


class MeterNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names by reading, the preferred ones first. Of one engine, the first name that has series is taken."""

    labels: MeterLabels
    present: tuple[Meter, ...]
    """anything that every GPU (and MIG slice) which is there tells"""
    active: tuple[Meter, ...]
    """share of the time in which a GPU worked"""
    busy: tuple[Meter, ...]
    """what looks like it and is not: some kernel was resident; to be shown, never to be reckoned with"""
    energy: tuple[Meter, ...]
    """counters of joules"""
    power: tuple[Meter, ...]
    """watts"""
    prefill: tuple[Meter, ...]
    """counters of seconds"""
    decode: tuple[Meter, ...]


class Telemetry(Protocol):
    """Synchronous: asked in a thread, or from a command."""

    @property
    def names(self) -> MeterNames:
        """What the engines and exporters behind it call their meters."""

    def range(self, promql: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """An expression at start, start + step ... up to and with end, unix seconds. Raises `TelemetryError`."""

    def instant(self, promql: str, at_s: float) -> list[Series]:
        """An expression at one instant: at most one point per series. Raises `TelemetryError`."""
