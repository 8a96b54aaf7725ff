"""What a HorizontalPodAutoscaler asks for, and how long its behaviour takes: Kubernetes autoscaling/v2, `replica_calculator.go`."""

from fractions import Fraction
from math import ceil, floor
from typing import Annotated, Literal

import msgspec

from penstock.domain.sizing.calculators.calculator import CalculationError, Calculator, Inputs, Quantity

TARGETS = Literal["Utilization", "Value", "AverageValue"]


class HpaInputs(Inputs, frozen=True, kw_only=True):
    """A metric, its target, and how many replicas there are."""

    replicas: Annotated[int, Quantity("replicas now", "replicas", above=0, most=10**6)] = 4
    value: Annotated[Fraction, Quantity("what the metric says", source="CPU of an LLM server under load, in percent")] = Fraction(30)
    target: Annotated[Fraction, Quantity("its target", above=0, source="often printed")] = Fraction(70)
    kind: Annotated[TARGETS, Quantity("type of the target; KEDA's default is AverageValue")] = "Utilization"
    tolerance: Annotated[Fraction, Quantity("no change within", "share", most=1, source="default of Kubernetes")] = Fraction("0.1")
    least: Annotated[int, Quantity("minReplicas", "replicas")] = 1
    most: Annotated[int, Quantity("maxReplicas", "replicas", above=0)] = 20


class Hpa(msgspec.Struct, frozen=True, kw_only=True):
    """What it does."""

    ratio: Annotated[Fraction, Quantity("metric over target", "x")]
    asked: Annotated[int, Quantity("replicas by the formula", "replicas")]
    desired: Annotated[int, Quantity("replicas, with tolerance and limits", "replicas")]
    does: Annotated[str, Quantity("so it")]


def hpa(of: HpaInputs) -> Hpa:
    """ceil(replicas x value / target); for AverageValue ceil(value / target)."""
    if of.least > of.most:
        raise CalculationError(f"least is {of.least}, above most, {of.most}", "minReplicas is at most maxReplicas")
    times = of.value / of.target
    asked = ceil(times) if of.kind == "AverageValue" else ceil(of.replicas * times)
    change = times / of.replicas if of.kind == "AverageValue" else times
    desired = of.replicas if abs(change - 1) <= of.tolerance else asked
    desired = min(max(desired, of.least), of.most)
    does = "grows" if desired > of.replicas else "shrinks" if desired < of.replicas else "stays"
    return Hpa(ratio=change, asked=asked, desired=desired, does=does)


class BehaviourInputs(Inputs, frozen=True, kw_only=True):
    """One policy of `behavior.scaleUp` or `behavior.scaleDown`, pressed all the time."""

    start: Annotated[int, Quantity("from", "replicas", most=100_000)] = 20
    end: Annotated[int, Quantity("to", "replicas", most=100_000)] = 1
    kind: Annotated[Literal["Percent", "Pods"], Quantity("type of the policy")] = "Percent"
    value: Annotated[int, Quantity("its value", above=0, most=100_000, source="often printed: 25 % down, 4 pods up")] = 25
    period_s: Annotated[int, Quantity("its period", "s", above=0, most=1800)] = 60
    window_s: Annotated[int, Quantity("stabilisation window before the first step", "s", most=3600, source="often printed")] = 600


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """The way."""

    steps: Annotated[int | None, Quantity("steps", otherwise="it never gets there: a step of this policy changes nothing")]
    seconds: Annotated[int | None, Quantity("after the metric changed", "s", otherwise="never")]
    path: Annotated[str, Quantity("way")]


def behaviour(of: BehaviourInputs) -> Behaviour:
    """Down: the integer part of what is left; up: rounded up; one step each period."""
    way = [of.start]
    while way[-1] != of.end:
        now = way[-1]
        change = Fraction(now * of.value, 100) if of.kind == "Percent" else Fraction(of.value)
        following = max(of.end, floor(now - change)) if of.end < now else min(of.end, ceil(now + change))
        if following == now:
            return Behaviour(steps=None, seconds=None, path=_path(way))
        way.append(following)
    steps = len(way) - 1
    return Behaviour(steps=steps, seconds=of.window_s + max(0, steps - 1) * of.period_s if steps else 0, path=_path(way))


def _path(way: list[int]) -> str:
    shown = way if len(way) <= 12 else [*way[:6], None, *way[-5:]]
    return " > ".join("..." if each is None else str(each) for each in shown)


CALCULATORS = (
    Calculator(
        name="hpa",
        words="how many replicas a HorizontalPodAutoscaler asks for",
        inputs=HpaInputs,
        compute=hpa,
        formula=("desired = ceil(replicas x value / target); AverageValue: ceil(value / target)",),
        notes=(
            "At the defaults a fleet with a full queue shrinks: its bottleneck is the GPU. Scale on queue depth and TTFT.",
            "A mean utilisation as AverageValue, KEDA's default, never asks for more than ceil(100 / 70) = 2: set metricType: Value.",
        ),
    ),
    Calculator(
        name="hpa-behavior",
        words="how many steps and seconds a scaling policy takes",
        inputs=BehaviourInputs,
        compute=behaviour,
        formula=("Percent down: floor(replicas x (1 - value %)); up: ceil(replicas x (1 + value %))", "Pods: replicas -/+ value"),
        notes=("From 1 to 0 only KEDA goes, after its cooldown; this window and policy do not hold it back.",),
    ),
)
