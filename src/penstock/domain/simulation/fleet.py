"""A fleet of replicas, and a trace replayed on it."""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np

from penstock.domain.simulation.replica import Outcome, ReplicaKind
from penstock.domain.simulation.scaling.policy import Policy
from penstock.domain.simulation.shield import Shield
from penstock.domain.simulation.trace import Floats, Ints, Trace

Routing = Literal["round_robin", "least_requests", "least_tokens", "prefix"]
ROUTINGS: tuple[Routing, ...] = get_args(Routing)
CAUSES = ("cold start", "kv memory", "max sequences", "prefill", "decode")
"""why requests wait: no ready replica takes them; no memory for their prompts; full batches; prompts before them; a step that runs"""


class FleetError(ValueError):
    """A fleet that cannot be simulated."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Interruption(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas that are lost, as spot machines are; so many fewer than asked for can be had until `until_s`, then others start cold."""

    at_s: float
    kind: int
    replicas: int
    until_s: float


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """What serves a trace. Replicas of `start` are ready at 0."""

    kinds: tuple[ReplicaKind, ...]
    start: tuple[int, ...]
    """by kind"""
    scaled: int | None = None
    """the kind that a policy scales; the others stay as they are"""
    least: int = 0
    """replicas of the scaled kind"""
    most: int = 1_000
    routing: Routing = "least_requests"
    """`prefix`: the longest cached prefix, unless its replica has more than twice the least load"""
    shield: Shield | None = None
    """None: requests are held while no replica is ready"""
    interruptions: tuple[Interruption, ...] = ()
    cache_hit_rate: float = 0.0
    """share of requests that a cache before the fleet answers at all times"""
    other_tier_rate: float = 0.0
    """share of requests that go to another tier at all times; its speed is the shield's"""
    ttft_window_s: float = 60.0
    """of `Signals.ttft_p95_s`"""
    patience_s: float = 3600.0
    """a run ends when no replica has worked for so long after the last arrival; what is left is unfinished"""


class Timeline(NamedTuple):
    """The fleet at each tick; arrays of one entry per tick."""

    at_s: Floats
    ready: Ints
    starting: Ints
    waiting: Ints
    """held at the gateway and queued at replicas"""
    running: Ints
    tokens_in_flight: Ints
    kv_use: Floats
    active: Floats
    arrivals: Ints
    """since the tick before"""
    ttft_p95_s: Floats
    """NaN: no first token within the window"""
    desired: Ints
    """replicas of all kinds after the tick, bounds applied"""


class Run(NamedTuple):
    """What happened."""

    outcome: Outcome
    timeline: Timeline
    replica_seconds: tuple[float, ...]
    """billed, by kind: from the wish for a replica until it is gone"""
    end_s: float
    """the last arrival or the last token, whichever is later"""
    waited_s: tuple[float, ...]
    """seconds that requests waited to be begun, by `CAUSES`"""


def simulate(
    trace: Trace, fleet: Fleet, policy: Policy | None = None, seed: int = 0, progress: Callable[[float], None] | None = None
) -> Run:
    """Replays the trace. The same arguments give the same run.

    With a policy, it is asked every `policy.interval_s`, and its answer counts replicas of all kinds. `progress` is told the share of
    requests that are done, at every tick. Raises `FleetError` for a fleet that makes no sense and `ValueError` for a bad trace.
    """
    check(fleet, policy)
    from penstock.domain.simulation.driving import Drive  # loads the compiler: whoever only describes a fleet need not wait for it

    return Drive(trace, fleet, policy, seed).run(progress)


def check(fleet: Fleet, policy: Policy | None = None) -> None:
    """Raises `FleetError` that says what is wrong."""
    if not fleet.kinds or len(fleet.start) != len(fleet.kinds) or min(fleet.start) < 0:
        raise FleetError("a fleet needs a kind of replica, and for each kind how many there are at first", "0 is a number, too")
    for kind in fleet.kinds:
        _check_kind(kind)
    if fleet.routing not in ROUTINGS:
        raise FleetError(f"there is no routing `{fleet.routing}`", f"there are {', '.join(ROUTINGS)}")
    if fleet.scaled is not None and not 0 <= fleet.scaled < len(fleet.kinds):
        raise FleetError(f"kind {fleet.scaled} cannot be scaled: there are {len(fleet.kinds)}", "count from 0")
    if not 0 <= fleet.least <= fleet.most:
        raise FleetError(f"a fleet cannot have at least {fleet.least} and at most {fleet.most} replicas", "put the smaller number first")
    if policy is not None and fleet.scaled is None:
        raise FleetError(f"`{policy.name}` has nothing to scale", "say which kind is `scaled`")
    if policy is not None and not policy.interval_s > 0:
        raise FleetError(f"`{policy.name}` is asked every {policy.interval_s} s", "an interval is above 0 s")
    shield = fleet.shield or Shield()
    shares = (fleet.cache_hit_rate, fleet.other_tier_rate, fleet.cache_hit_rate + fleet.other_tier_rate, shield.hit_rate)
    if not all(0 <= share <= 1 for share in shares):
        raise FleetError("shares of requests are from 0 to 1, together as well", "write 0.2 for 20 %")
    if not all(0 <= time < np.inf for time in (shield.spill_after_s, shield.spill_ttft_s, shield.spill_tpot_s)):
        raise FleetError("the times of a shield are 0 s or more", "leave them out for the defaults")
    for interruption in fleet.interruptions:
        if not (0 <= interruption.at_s < interruption.until_s < np.inf) or not 0 <= interruption.kind < len(fleet.kinds):
            raise FleetError(
                f"an interruption of kind {interruption.kind} from {interruption.at_s} s to {interruption.until_s} s cannot be",
                "it begins before it ends, and its kind is one of the fleet's",
            )


def _check_kind(kind: ReplicaKind) -> None:
    given = kind.times
    if not 1 <= kind.max_sequences <= kind.step_tokens:
        raise FleetError(
            f"`{kind.name}` decodes up to {kind.max_sequences} sequences in steps of {kind.step_tokens} tokens",
            "a step has room for a token of each sequence: raise `step_tokens` (vLLM's --max-num-batched-tokens)",
        )
    if kind.kv_tokens < 2:
        raise FleetError(f"`{kind.name}` has no memory for a token ({kind.kv_tokens})", "the model does not fit: see `penstock size`")
    if len(given.decode_s) <= kind.max_sequences:
        raise FleetError(
            f"`{kind.name}` has {len(given.decode_s)} step times for up to {kind.max_sequences} sequences",
            "give one for each number of sequences from 0 to the most",
        )
    times = (*given.decode_s[1 : kind.max_sequences + 1], given.prefill_s)
    rest = (given.decode_s[0], given.context_s, given.attention_s, kind.cold_start_s)
    if not all(0 < time < np.inf for time in times) or not all(0 <= time < np.inf for time in rest):
        raise FleetError(f"`{kind.name}` has step times that are no times", "seconds above 0; context, attention and cold start may be 0")
