"""Policies by their names: `queue`, `forecast:quantile=0.99,hold=10m`."""

import difflib
from collections.abc import Mapping
from math import inf, nan
from types import MappingProxyType
from typing import Final, cast, get_args, get_type_hints

import msgspec

from penstock.domain.simulation.scaling.fixed import Static
from penstock.domain.simulation.scaling.forecast import Forecast
from penstock.domain.simulation.scaling.horizontal import HpaCpu, HpaGpu, HpaRam, HpaRequests, KvUse, Tokens
from penstock.domain.simulation.scaling.keda import KedaArticle, KedaRight
from penstock.domain.simulation.scaling.policy import Policy
from penstock.domain.simulation.scaling.thresholds import Queue, Ttft, Utilization

SUGGESTED = 3
MAY_BE_ZERO: Final = frozenset({"replicas", "least", "down", "up_for_s", "down_for_s", "hold_s", "cooldown_s", "cold_start_s", "tolerance"})
UNITS_S: Final[Mapping[str, float]] = MappingProxyType({"s": 1.0, "m": 60.0, "h": 3600.0})


class PolicyError(ValueError):
    """A policy that cannot be meant; `hint` says what can."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class NamedPolicy(msgspec.Struct, frozen=True):
    """How a policy is asked for."""

    words: str
    make: type[msgspec.Struct]
    """a `Policy` of its own fields, all with defaults"""

    def parameters(self) -> dict[str, float | int | None]:
        """Name -> default; None: found out by the policy."""
        kinds = get_type_hints(self.make)
        defaults = self.make()
        return {name: getattr(defaults, name) for name in self.make.__struct_fields__ if _number(kinds[name]) is not None}


POLICIES: Final[Mapping[str, NamedPolicy]] = MappingProxyType(
    {
        "static": NamedPolicy("the same number of replicas all the time", Static),
        "queue": NamedPolicy("more than 10 wait for 60 s: one more; fewer than 2 for 300 s: one less", Queue),
        "ttft": NamedPolicy("P95 of the first token above twice the objective for 60 s; below half of it for 300 s", Ttft),
        "tokens": NamedPolicy("tokens in flight over 70 % of the memory for keys and values, in proportion", Tokens),
        "kv": NamedPolicy("memory for keys and values in use over 60 %, in proportion", KvUse),
        "forecast": NamedPolicy("what the next window will need: a few of the moves the load makes now above it", Forecast),
        "utilization": NamedPolicy("GPU works more than 80 % for 120 s; less than 20 % for 600 s", Utilization),
        "hpa_cpu": NamedPolicy("baseline: HPA on CPU at 70 %", HpaCpu),
        "hpa_ram": NamedPolicy("baseline: HPA on RAM at 80 %", HpaRam),
        "hpa_requests": NamedPolicy("baseline: HPA on 32 requests in flight a replica", HpaRequests),
        "hpa_gpu": NamedPolicy("baseline: HPA on GPU use at 70 %", HpaGpu),
        "keda_article": NamedPolicy("baseline: a published KEDA rule as it is written", KedaArticle),
        "keda_right": NamedPolicy("the same made right: queue, memory in use, wakes on the first request", KedaRight),
    }
)


def policies() -> Mapping[str, NamedPolicy]:
    """All that can be asked for, by name."""
    return POLICIES


def find_policy(text: str) -> Policy:
    """`name`, or `name:parameter=value,...`; times in seconds, or with s, m or h; `_s` may be left out of a parameter.

    Raises `PolicyError` that names the nearest policies, or the parameters that there are.
    """
    name, _, rest = text.strip().partition(":")
    named = POLICIES.get(name.strip().lower().replace("-", "_"))
    if named is None:
        near = difflib.get_close_matches(name.lower(), POLICIES, SUGGESTED, 0.4) or list(POLICIES)
        raise PolicyError(f"there is no scaling policy `{name}`", f"the nearest: {', '.join(near)}")
    known = named.parameters()
    values: dict[str, float | int | str] = {"name": text.strip()} if rest else {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        field = key if key in known else f"{key}_s"
        if not equals or field not in known:
            told = ", ".join(f"{each.removesuffix('_s')}={_told(default)}" for each, default in known.items())
            raise PolicyError(f"`{name}` has no parameter `{key}`" if equals else f"`{part}` is no parameter=value", f"there are {told}")
        values[field] = _parsed(part, value, get_type_hints(named.make)[field], field)
    try:
        return cast(Policy, named.make(**values))
    except ValueError as problem:
        raise PolicyError(f"`{text}` cannot work: {problem}", "leave out what you do not know") from None


def _number(hint: object) -> type[int] | type[float] | None:
    """The kind of a parameter that can be written; None: it cannot."""
    kinds = get_args(hint) or (hint,)
    return float if float in kinds else int if int in kinds else None


def _told(default: float | int | None) -> str:
    return "?" if default is None else f"{default:g}"


def _parsed(part: str, value: str, hint: object, field: str) -> float | int:
    timed, whole, least = field.endswith("_s"), _number(hint) is int, "0 or more" if field in MAY_BE_ZERO else "more than 0"
    unit = UNITS_S.get(value[-1:], 1.0) if timed else 1.0
    try:
        parsed = float(value[:-1] if timed and value[-1:] in UNITS_S else value) * unit
    except ValueError:
        parsed = nan
    if not 0 <= parsed < inf or (not parsed and field not in MAY_BE_ZERO) or (whole and parsed != int(parsed)):
        wanted = f"a time such as 90, 90s or 5m, {least}" if timed else f"a {'whole ' if whole else ''}number, {least}"
        raise PolicyError(f"`{part}` says nothing", f"{part.partition('=')[0]} is {wanted}")
    return int(parsed) if whole else parsed
