"""What a simulated engine can be told: its speed, its size, how long its answers are, and which faults it shows by itself."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.adapters.upstreams.simulated.faults import Fault, FaultError, parse_fault
from penstock.adapters.upstreams.simulated.known import KnownError, known_answers

Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Milliseconds = Annotated[float, Meta(ge=0)]


class OptionsError(ValueError):
    """Options that cannot be used; `hint` says what would be."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class PlannedFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault by count of the model calls that came in: the `first` n, or one in `every` n, or both."""

    fault: str
    first: Annotated[int, Meta(ge=0)] | None = None
    every: Positive | None = None

    def applies(self, number: int) -> bool:
        """Whether call `number` (from 1 on) shows the fault."""
        if self.first is not None and number > self.first:
            return False
        return self.every is None or number % self.every == 0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One engine. Times are those of a real engine; `speed` = 10 runs them ten times as fast."""

    models: tuple[str, ...] = ()
    """names that it answers to; empty: any, listed as `simulated`"""
    speaks: tuple[Literal["chat", "responses", "messages"], ...] = ("chat", "responses", "messages")
    """of `/v1/chat/completions`, `/v1/responses` and `/v1/messages`, those that it has; the others are answered 404"""
    prefill_tokens_per_second: Rate = 20_000
    decode_step_ms: Milliseconds = 12
    decode_step_ms_per_sequence: Milliseconds = 0.1
    max_batched_tokens: Positive = 2048
    max_num_seqs: Positive = 64
    kv_tokens: Positive = 200_000
    context: Positive = 32_768
    answer_tokens: tuple[Positive, Positive] = (24, 160)
    """shortest and longest answer of its own accord"""
    answers: str = ""
    """a TOML file of answers that it knows (see `known`); to everything else it says what it makes up"""
    skill: Share | dict[str, Share] | None = None
    """how able it is (see `ability`), or each of its models; without it an answer is neither right nor wrong"""
    refuses: Share = 0
    """share of questions that a model with a skill refuses"""
    seed: int = 0
    speed: Rate = 1
    faults: tuple[str | PlannedFault, ...] = ()
    """a text alone is a fault that every call shows"""

    @property
    def served_models(self) -> tuple[str, ...]:
        return self.models or ("simulated",)


def parse_options(table: Mapping[str, Any]) -> Options:
    """Options from the `simulated` table of an upstream. Raises `OptionsError`."""
    try:
        options = msgspec.convert(table, Options)
        planned_faults(options)
        if options.answers:
            known_answers(options.answers)
    except KnownError as error:
        raise OptionsError(str(error), error.hint) from None
    except msgspec.ValidationError as error:
        fields = ", ".join(Options.__struct_fields__)
        raise OptionsError(f"the simulated engine does not understand its options: {error}", f"it knows {fields}") from None
    except FaultError as error:
        raise OptionsError(str(error), error.hint) from None
    shortest, longest = options.answer_tokens
    if shortest > longest:
        raise OptionsError(f"answer_tokens goes from {shortest} down to {longest}", "write the shorter length first, such as [24, 160]")
    return options


def planned_faults(options: Options) -> tuple[tuple[PlannedFault, Fault], ...]:
    """Each planned fault with its parsed form. Raises `FaultError`."""
    plans = [PlannedFault(each) if isinstance(each, str) else each for each in options.faults]
    return tuple((plan, parse_fault(plan.fault)) for plan in plans)
