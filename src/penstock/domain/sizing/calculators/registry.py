"""Every calculator by name."""

from collections.abc import Mapping

from penstock.domain.sizing.calculators import (
    break_even,
    committing,
    context,
    curve,
    deciding,
    hardware,
    lever_table,
    levers,
    quantising,
    replicas,
    scaling,
    serverless,
    serving,
    tiers,
)
from penstock.domain.sizing.calculators.calculator import CalculationError, Calculator
from penstock.domain.sizing.calculators.reading import nearest

THEMES: Mapping[str, tuple[Calculator, ...]] = {
    "bills": (*curve.CALCULATORS, *serving.CALCULATORS, *deciding.CALCULATORS),
    "own, rented, bought": (*break_even.CALCULATORS, *serverless.CALCULATORS, *committing.CALCULATORS, *hardware.CALCULATORS),
    "tiers and caches": tiers.CALCULATORS,
    "replicas": (*replicas.CALCULATORS, *scaling.CALCULATORS),
    "models and engines": (*quantising.CALCULATORS, *context.CALCULATORS, *levers.CALCULATORS, *lever_table.CALCULATORS),
}


def calculators() -> dict[str, Calculator]:
    """By name, in the order in which they are listed."""
    return {each.name: each for theme in THEMES.values() for each in theme}


def find_calculator(name: str) -> Calculator:
    """Raises `CalculationError` with the nearest names."""
    known = calculators()
    if name not in known:
        raise CalculationError(f"there is no calculator `{name}`", nearest(name, list(known)))
    return known[name]
