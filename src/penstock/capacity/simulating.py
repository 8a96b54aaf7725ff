"""A trace replayed on a model's replicas under several scaling policies: what each costs, what it keeps, and what binds.

First the smallest fixed fleet that keeps the SLO is sought: it is the row that every policy is compared with, and
twice as many is the most that a policy may ask for. When no row keeps the SLO, the best that this hardware reaches is told.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil
from typing import Final, NamedTuple

import msgspec
import numpy as np

from penstock.capacity.replaying import Spot, busiest, fitting, interruptions, needed, room, smallest
from penstock.capacity.replicas import Hardware
from penstock.capacity.simulation_courses import arrivals_per_s, course_of, edges_of, light_of, perfect_course
from penstock.capacity.simulation_report import Best, Courses, Percentiles, Row, SimulationReport
from penstock.domain.simulation.demand import speed
from penstock.domain.simulation.fleet import Fleet, Routing, Run, simulate
from penstock.domain.simulation.replica import ReplicaKind
from penstock.domain.simulation.report import Figures, figures
from penstock.domain.simulation.report import Percentiles as Measured
from penstock.domain.simulation.scaling.classes import Wrapped, find_workload, wrapped
from penstock.domain.simulation.scaling.named import find_policy
from penstock.domain.simulation.scaling.policy import Policy
from penstock.domain.simulation.shape import shape, shape_words
from penstock.domain.simulation.shield import Shield, SpillPrices
from penstock.domain.simulation.slo import Slo
from penstock.domain.simulation.trace import Trace, TraceError
from penstock.domain.sizing.latency.deployment import Workload
from penstock.domain.sizing.latency.model import LatencyModel
from penstock.domain.sizing.latency.steps import step_times
from penstock.domain.units import NANO_PER_USD, format_usd

HALF_FULL: Final = 0.5
MOST_WHOLE: Final = 300_000
"""requests of a trace that is replayed whole to find the size of a fixed fleet"""
MOST_TIMES: Final = 8
"""what the work of the busiest hour needs at least, that a fixed fleet may be: where these do not keep the SLO, no number does"""
SPARE: Final = 2
"""times the fixed fleet that a policy may ask for"""
ASLEEP: Final = "background"
"""class of the workload where a policy may go down to no replica, and does not say by itself when it sleeps and wakes"""
HINTS: Final = {
    "prefill": "prompts take that long to compute: a faster GPU, more GPUs per replica (--tp), or a prefix cache",
    "decode": "each token takes that long: a GPU with more bandwidth, more GPUs per replica (--tp), fewer bits (--format)",
    "kv memory": "keys and values are full: --kv fp8, a GPU with more memory, or more GPUs per replica (--tp)",
    "cold start": "replicas start too late: keep some (--min), start earlier, or shield the start (--shield)",
    "max sequences": "batches are full: more requests at once (--max-sequences), or more replicas (--max)",
}
Told = Callable[[float, str], None]
"""share of all that is to be done, and what is being done"""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How the fleet is run."""

    policies: tuple[str, ...] = ()
    shields: tuple[tuple[str, Shield], ...] = ()
    """by the words that name them"""
    spill: SpillPrices | None = None
    replicas: int | None = None
    """of the fixed fleet; None: the smallest that keeps the SLO"""
    least: int = 1
    most: int | None = None
    workload: str | None = None
    """class of the workload"""
    midnight_s: float = 0.0
    """from the midnight before the begin of the trace to its begin"""
    slo: Slo
    slo_words: str
    routing: Routing = "least_requests"
    cache_hit_rate: float = 0.0
    spot: Spot | None = None
    seed: int = 0


class Asked(NamedTuple):
    """What a run is called and when it was asked for."""

    id: str
    at_ns: int
    name: str
    trace: str
    notes: tuple[str, ...]


class _Played(NamedTuple):
    """One run with its figures."""

    policy: str
    shield: str | None
    run: Run
    figures: Figures


def replica_kind(hardware: Hardware, model: LatencyModel) -> ReplicaKind:
    """The replica as the simulator knows it: step times predicted, memory by the law of sizes."""
    times = step_times(model, hardware.deployment, hardware.max_sequences)
    return ReplicaKind(
        name=hardware.name, times=times, kv_tokens=hardware.fit.kv_tokens, max_sequences=hardware.max_sequences,
        step_tokens=max(hardware.step_tokens, hardware.max_sequences), max_context=hardware.max_context,
        cold_start_s=hardware.cold_start_s, usd_per_hour=hardware.usd_per_hour, gpus=hardware.deployment.devices, spot=hardware.spot,
    )  # fmt: skip


def simulated(
    trace: Trace, hardware: Hardware, plan: Plan, model: LatencyModel, asked: Asked, told: Told = lambda share, what: None
) -> SimulationReport:
    """All runs that are asked for. Raises `FleetError`, `PolicyError` and `TraceError`."""
    kind = replica_kind(hardware, model)
    if not fitting(trace, kind).any():
        raise TraceError(
            f"not one of {trace.requests:,} requests fits: a replica holds {room(kind):,} tokens of one request",
            "take a model of longer contexts, more GPUs per replica (--tp), or --kv fp8",
        )
    replay = _Replay(trace, kind, plan, told)
    fixed = replay.fixed()
    played = [replay.static(fixed.replicas), *replay.scaled(fixed)]
    edges = edges_of(trace.duration_s, (each.run.end_s for each in played))
    rows = tuple(_row(each, trace, kind, plan.slo) for each in played)
    pairs = list(zip(rows, played, strict=True))
    return SimulationReport(
        id=asked.id, at_ns=asked.at_ns, name=asked.name, trace=asked.trace, shape=tuple(shape_words(shape(trace))),
        hardware=hardware.words, model=hardware.deployment.architecture.name, gpu=hardware.deployment.accelerator.name,
        tensor_parallel=hardware.deployment.tensor_parallel, usd_per_replica_hour=_usd(hardware.usd_per_hour),
        price_source=hardware.price_source, slo=plan.slo_words, first_token_limit_s=first_token_limit(plan.slo),
        duration_s=round(trace.duration_s, 3), requests=trace.requests, seed=plan.seed, rows=rows,
        courses=Courses(
            at_s=tuple(edges[:-1].round(3).tolist()), load_rps=arrivals_per_s(trace, edges),
            needed=perfect_course(trace, kind, played[0].run, edges),
            policies=tuple(course_of(row.name, trace, each.run, edges, _exact(row.cost_usd)) for row, each in pairs),
        ),
        best=None if any(row.meets is not False for row in rows) else replay.best(fixed),
        notes=(*asked.notes, *predicted_notes(hardware, model, trace), *replay.notes()),
    )  # fmt: skip


class _Fixed(NamedTuple):
    """The smallest fixed fleet that keeps the SLO; twice what the work needs where none does."""

    replicas: int
    most: int
    """that were or would be tried"""
    rps: float
    """requests a second that a replica can serve"""


class _Replay:
    """Runs of one trace on one kind of replica."""

    def __init__(self, trace: Trace, kind: ReplicaKind, plan: Plan, told: Told) -> None:
        self._trace, self._kind, self._plan, self._told = trace, kind, plan, told

    @property
    def _is_long(self) -> bool:
        return self._trace.requests > MOST_WHOLE

    def fixed(self) -> _Fixed:
        """As many as were asked for, or the fewest that keep the SLO: over the whole trace, of a long one in its busiest hour."""
        plan, hour = self._plan, busiest(self._trace, self._kind)
        rate = hour.requests / max(hour.duration_s, 1.0)
        if plan.replicas is not None:
            return _Fixed(plan.replicas, plan.most or plan.replicas, self._serves(hour, rate / plan.replicas))
        part = hour if self._is_long else self._trace
        load = needed(part, self._kind, np.array([-1.0, max(part.duration_s, 1.0)]))
        least = max(1, ceil(float(load[0])))
        most = plan.most or MOST_TIMES * (least + 2)

        def meets(replicas: int) -> bool:
            fleet = self._fleet(None, replicas, replicas, replicas)
            run = simulate(part, fleet, None, plan.seed, lambda share: self._told(share, f"a fixed fleet of {replicas}?"))
            return figures(part, fleet, run, plan.slo).slo_met is True

        found = smallest(meets, min(least, most), most)
        replicas = min(2 * least, most) if found is None else found
        # with fewer the SLO was not kept, so each serves about its share; one alone may be able to serve more than came
        return _Fixed(replicas, most, rate / replicas if replicas > 1 else self._serves(hour, rate))

    def _serves(self, part: Trace, rps: float) -> float:
        """Requests a second that a replica can serve: at least so many, and what a half-full one does."""
        return max(rps, HALF_FULL * speed(self._kind, part))

    def static(self, replicas: int) -> _Played:
        """The fixed fleet over the whole trace."""
        return self.play(f"static:replicas={replicas}", None, (None, None), (replicas, replicas, replicas))

    def scaled(self, fixed: _Fixed) -> Iterator[_Played]:
        """Every policy with every shield."""
        plan = self._plan
        begin = max(fixed.replicas, plan.least)
        most = plan.most or max(SPARE * begin, begin + 2)
        for text in plan.policies:
            policy = self._policy(text, fixed)
            for words, shield in plan.shields or ((None, None),):
                awake = plan.least or (isinstance(policy, Wrapped) and policy.least(0.0))
                start = begin if awake else 0
                yield self.play(text, policy, (words, shield), (min(start, most), plan.least, most))

    def play(self, name: str, policy: Policy | None, shield: tuple[str | None, Shield | None], replicas: tuple[int, int, int]) -> _Played:
        """One run over the whole trace; `replicas` at first, at least and at most."""
        fleet = self._fleet(shield[1], *replicas)
        run = simulate(self._trace, fleet, policy, self._plan.seed, lambda share: self._told(share, name))
        return _Played(name, shield[0], run, figures(self._trace, fleet, run, self._plan.slo, self._plan.spill))

    def _policy(self, text: str, fixed: _Fixed) -> Policy:
        """As it is named; what it does not say of the fleet and the SLO is filled in."""
        policy = find_policy(text)
        named = {part.partition("=")[0].strip().removesuffix("_s") for part in text.partition(":")[2].split(",")}
        known = {"rps_per_replica": fixed.rps, "cold_start_s": self._kind.cold_start_s, "sla_s": first_token_limit(self._plan.slo)}
        fields = getattr(policy, "__struct_fields__", ())
        given = {key: value for key, value in known.items() if key in fields and value and key.removesuffix("_s") not in named}
        if given:
            policy = msgspec.structs.replace(policy, **given)  # type: ignore[type-var]
        workload = self._plan.workload
        if workload is None and self._plan.least == 0 and "cooldown_s" not in fields:
            workload = ASLEEP
        if workload is None:
            return policy
        return wrapped(policy, find_workload(workload), self._kind.cold_start_s, self._plan.midnight_s)

    def _fleet(self, shield: Shield | None, start: int, least: int, most: int) -> Fleet:
        plan = self._plan
        taken = () if plan.spot is None else interruptions(plan.spot, max(start, 1), self._trace.duration_s, plan.seed)
        return Fleet(
            kinds=(self._kind,), start=(start,), scaled=None if least == most else 0, least=least, most=most, routing=plan.routing,
            shield=shield, interruptions=taken, cache_hit_rate=plan.cache_hit_rate,
        )  # fmt: skip

    def best(self, fixed: _Fixed) -> Best:
        """The best that a fixed fleet reaches: as many as may be had."""
        replicas = fixed.most
        played = self.play(f"a fixed fleet of {replicas}", None, (None, None), (replicas, replicas, replicas))
        found = played.figures
        return Best(
            replicas=replicas, first_token_p95_s=found.ttft.p95, per_token_p95_s=found.tpot.p95, whole_p95_s=found.e2e.p95,
            meets=found.slo_met is True, binds=found.binds, hint=self._hint(found),
        )  # fmt: skip

    def _hint(self, found: Figures) -> str:
        """What would help: first what cannot be served at all, then what waits, then what is slow by itself."""
        slo = self._plan.slo
        if found.refused * 100 > found.requests * (100 - max(each.percentile for each in slo.objectives)):
            longest = "a GPU with more memory, --kv fp8, more GPUs per replica (--tp), or a model with a longer context"
            return f"{found.refused:,} of {found.requests:,} requests are longer than a replica takes and count as misses: {longest}"
        if found.binds == "decode" and first_token_limit(slo) is not None:
            return HINTS["prefill"]  # nothing waits, so a first token takes its own prompt
        return HINTS.get(found.binds, HINTS["decode"])

    def notes(self) -> Iterator[str]:
        """What was assumed of the fleet."""
        plan = self._plan
        if plan.replicas is None and self._is_long:
            yield f"the fixed fleet is the smallest that keeps the SLO in the busiest hour: more than {MOST_WHOLE:,} requests take long"
        if plan.spot is not None:
            lost, back = plan.spot.mtbf_s / 3600, plan.spot.back_s / 60
            yield f"a machine is taken away every {lost:.3g} h on average, and another one is there {back:.3g} min later: assumed"
        if plan.least == 0 and plan.workload is None and plan.policies:
            yield f"policies that do not say when they sleep do as the class `{ASLEEP}`: after 5 min without a request"
        if plan.cache_hit_rate:
            yield f"{plan.cache_hit_rate:.1%} of requests, drawn at random, are answered by a cache before the fleet"
        if plan.shields and any(shield.spills for _, shield in plan.shields) and plan.spill is None:
            yield "what spilled requests cost is not said (--spill input=,output=), so such rows have no cost"
        yield f"a replica serves {self._kind.cold_start_s:.4g} s after it was asked for, and is paid from then on"


def predicted_notes(hardware: Hardware, model: LatencyModel, trace: Trace) -> Iterator[str]:
    """What the step times rest on: a prediction with its band, at half of a full batch."""
    lengths = max(1, round(float(trace.input_tokens.mean()))), max(1, round(float(trace.output_tokens.mean())))
    batch = max(1, min(hardware.max_sequences, hardware.fit.kv_tokens // sum(lengths)) // 2)
    told = model.predict(hardware.deployment, Workload(input_tokens=lengths[0], output_tokens=lengths[1], concurrency=batch))
    yield (
        f"step times are predicted, not measured (latency model {model.document.version}): at {batch} requests at once "
        f"{told.tpot_ms:.3g} ms a token, 80 of 100 times between {told.tpot_low_ms:.3g} and {told.tpot_high_ms:.3g}"
    )


def first_token_limit(slo: Slo) -> float | None:
    """Seconds that the P95 of the first token may take, where the SLO says."""
    return next((each.within_s for each in slo.objectives if each.metric == "ttft" and each.percentile == 95), None)


def _row(played: _Played, trace: Trace, kind: ReplicaKind, slo: Slo) -> Row:
    found, cost = played.figures, played.figures.cost
    limit = first_token_limit(slo)
    late = None if limit is None or found.ttft.p95 is None else (found.ttft.p95, limit)
    light = light_of(trace, kind, played.run, late)
    return Row(
        policy=played.policy, shield=played.shield, requests=found.requests, served=found.served, cached=found.cached,
        spilled=found.spilled, refused=found.refused, unfinished=found.unfinished, first_token_s=_percentiles(found.ttft),
        per_token_s=_percentiles(found.tpot), whole_s=_percentiles(found.e2e), output_tokens_per_s=round(found.output_tokens_per_s, 3),
        mean_replicas=round(found.mean_replicas, 4), peak_replicas=found.peak_replicas, reversals=found.reversals,
        reversals_per_hour=round(found.reversals_per_hour, 4), attainment=found.slo_attainment, meets=found.slo_met,
        cost_usd=format_usd(cost.total), cost_parts_usd={"replicas": format_usd(cost.replicas), "spilled": format_usd(cost.spilled)},
        cp1kt_usd=None if found.cp1kt is None else format_usd(round(found.cp1kt)), oracle_usd=format_usd(found.oracle_cost),
        over_oracle=None if cost.total is None or not found.oracle_cost else round(cost.total / found.oracle_cost, 4),
        binds=found.binds, light=light.colour, advice=light.action,
    )  # fmt: skip


def _percentiles(found: Measured) -> Percentiles:
    return Percentiles(*(None if each is None else round(each, 6) for each in (found.p50, found.p95, found.p99)))


def _usd(amount: Fraction | None) -> str | None:
    return None if amount is None else format_usd(round(amount * NANO_PER_USD))


def _exact(usd: str | None) -> Fraction | None:
    return None if usd is None else Fraction(usd)
