"""What would make a model fit that does not: fewer bits, more or other devices, less context, fewer requests, a smaller model."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from penstock.domain.sizing.accelerators import Accelerator
from penstock.domain.sizing.architecture import Architecture
from penstock.domain.sizing.candidates import Candidate, Demand, Offer, candidates, formats_by_bits
from penstock.domain.sizing.formats import Format
from penstock.domain.sizing.mig import Slice
from penstock.domain.sizing.parameters import parameters

MACHINE = 8
FP8_BITS = 8


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, and what else is known."""

    architecture: Architecture
    formats: tuple[Format, ...]
    devices: tuple[Accelerator, ...]
    """that were asked for"""
    known: tuple[Accelerator, ...]
    slices: Mapping[str, Sequence[Slice]]
    offers: tuple[Offer, ...]
    demand: Demand
    family: tuple[Architecture, ...]
    """models of the same family"""


def remedies(question: Question) -> list[str]:
    """Changes that make it fit, each alone, in the order in which they cost least; empty where none is known."""
    steps: tuple[Callable[[Question], str | None], ...] = (
        _less_context, _smaller_cache, _fewer_requests, _fewer_bits, _more_devices, _other_devices, _more_machines, _smaller_model,
    )  # fmt: skip
    return [text for step in steps if (text := step(question)) is not None]


def _less_context(question: Question) -> str | None:
    best = max((each.fit.kv_tokens for each in _tried(question) if each.fit is not None), default=0)
    context = best // question.demand.requests
    if not 0 < context < question.demand.context:
        return None
    requests = question.demand.requests
    return f"a context of {context:,} tokens instead of {question.demand.context:,}{f', {requests} at once' if requests > 1 else ''}"


def _smaller_cache(question: Question) -> str | None:
    if question.demand.kv_bits <= FP8_BITS:
        return None
    found = _best(question, demand=msgspec.structs.replace(question.demand, kv_bits=FP8_BITS))
    return None if found is None else f"a KV cache in fp8 (`--kv fp8`): {_named(found)}"


def _fewer_requests(question: Question) -> str | None:
    best = max((each.fit.requests for each in _tried(question) if each.fit is not None), default=0)
    if not 0 < best < question.demand.requests:
        return None
    return f"{best:,} request{'s' * (best > 1)} at once instead of {question.demand.requests:,}"


def _fewer_bits(question: Question) -> str | None:
    most = min(each.bits for each in question.formats)
    for format in formats_by_bits():
        if format.bits < most and (found := _best(question, formats=(format,))) is not None:
            return f"fewer bits: {_named(found)}"
    return None


def _more_devices(question: Question) -> str | None:
    if question.demand.tp is None:
        return None
    found = _best(question, demand=msgspec.structs.replace(question.demand, tp=None))
    if found is None or found.fit is None:
        return None
    return f"{'more GPUs' if found.fit.tensor_parallel > question.demand.tp else 'another number of GPUs'}: {_named(found)}"


def _other_devices(question: Question) -> str | None:
    others = tuple(each for each in question.known if each not in question.devices)
    found = _best(question, devices=others, demand=msgspec.structs.replace(question.demand, tp=None))
    return None if found is None else f"other hardware: {_named(found)}"


def _more_machines(question: Question) -> str | None:
    """Pipeline parallelism: each machine holds a part of the layers. Only where one machine of the devices asked for is too small."""
    tried = _tried(question)
    needed: list[tuple[int, str]] = []
    for each in tried:
        if each.fit is None or each.fit.room_bytes >= 0 or each.fit.tensor_parallel != MACHINE:
            continue
        free = (each.fit.usable_bytes - each.fit.reserve_bytes) * each.fit.tensor_parallel
        if free > 0:
            needed.append((-(-each.fit.weights_bytes // free), f"{each.format.name} on {{}} machines of {MACHINE} {each.accelerator.name}"))
    if not needed or any(each.fit is not None and each.fit.room_bytes >= 0 for each in tried):
        return None
    machines, text = min(needed)
    return f"pipeline parallelism: {text.format(machines)}, at least"


def _smaller_model(question: Question) -> str | None:
    size = parameters(question.architecture).total
    smaller = sorted(question.family, key=lambda each: -parameters(each).total)
    for model in smaller:
        if parameters(model).total < size and (found := _best(question, architecture=model)) is not None:
            return f"a smaller model of the family: {model.name}, {_named(found)}"
    return None


def _tried(question: Question) -> list[Candidate]:
    return candidates(
        question.architecture, question.formats, question.devices, question.slices, question.offers, question.demand
    )  # fmt: skip


def _best(question: Question, **changed: object) -> Candidate | None:
    return next((each for each in _holding(msgspec.structs.replace(question, **changed))), None)


def _holding(question: Question) -> Iterator[Candidate]:
    return (each for each in _tried(question) if each.holds)


def _named(found: Candidate) -> str:
    devices = 1 if found.fit is None else found.fit.tensor_parallel
    card = f"{found.accelerator.name}" if found.slice is None else f"a {found.slice.name} slice of {found.accelerator.name}"
    return f"{found.format.name} on {f'{devices} x ' if found.slice is None else ''}{card}"
