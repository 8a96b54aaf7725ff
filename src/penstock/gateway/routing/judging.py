"""What the answers of a stage show: how they ended, whether they have the form asked for, how sure they are, what checks say of them,
and whether they say the same."""

import asyncio
from collections.abc import Sequence

import msgspec

from penstock.domain.dialects.content import last_user_text
from penstock.domain.ledger.routed import Sign
from penstock.domain.routing.agreement.canonical import Canonical, canonical, same
from penstock.domain.routing.agreement.literals import value_key
from penstock.domain.routing.course import Stage
from penstock.domain.routing.signals.ending import ending_signs
from penstock.domain.routing.signals.forms import Wanted, broken_call, json_value, wanted_of
from penstock.domain.routing.signals.logprobs import logprob_sign
from penstock.domain.routing.signals.shown import Shown, read_shown
from penstock.gateway.exchange import Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.routing.asides import Draft, ask, book
from penstock.gateway.routing.checking import Checks, Finding

_MOST_CALLS = 8
"""tool calls of an answer whose arguments are held against their schemas; of more, all after them are held to fail"""


class Verdict(msgspec.Struct, frozen=True):
    """What is to be known of a stage's answers. `agreed`: of a gate; None: it cannot be told."""

    signs: tuple[Sign, ...]
    agreed: bool | None


async def judge(gateway: Gateway, x: Exchange, stage: Stage, drafts: Sequence[Draft]) -> Verdict:
    """Judges the first of a stage's answers, by itself and beside the others. What costs time or money is left out where something fails
    before. Raises nothing but `CancelledError`."""
    first = drafts[0]
    if not first.ok:
        return Verdict((Sign("finish", fails=True, said=(first.error or "there is no answer")[:200]),), None)
    shown = shown_of(first)
    signs = await _looks(gateway, x, shown)
    if stage.kind == "cascade" and _asks_odds(x):
        signs.append(logprob_sign(shown.whole))
    if any(sign.fails for sign in signs):
        return Verdict(tuple(signs), None)
    agreed = None
    if stage.kind == "gate":
        agreed = await alike(gateway, x, first, drafts[1]) if len(drafts) > 1 and drafts[1].ok else None
    signs += [finding.sign for finding in await _findings(gateway, x, shown)]
    if stage.kind == "cascade" and not any(sign.fails for sign in signs):
        signs += await _samples(gateway, x, first)
    return Verdict(tuple(signs), agreed)


async def quality(gateway: Gateway, x: Exchange, draft: Draft) -> tuple[float | None, str | None]:
    """What programs say of an answer, as evidence: 0 to 1 and the name of the check, the least where there are several. None where no check
    applies, or one failed itself. An answer that is cut off, declines, or lacks the form asked for is worth 0."""
    if not draft.ok:
        return None, None
    shown = shown_of(draft)
    failing = next((sign for sign in await _looks(gateway, x, shown) if sign.fails), None)
    if failing is not None:
        return 0.0, failing.name
    found = await _findings(gateway, x, shown, verifiers=False)
    if not found or any(finding.quality is None for finding in found):
        return None, None
    least = min(found, key=lambda finding: finding.quality or 0.0)
    return least.quality, least.sign.name.removeprefix("check:")


async def alike(gateway: Gateway, x: Exchange, one: Draft, other: Draft) -> bool | None:
    """Whether two answers to a request say the same; None: it cannot be told. Longer texts are compared by meaning where the semantic cache
    has an embedder that costs nothing."""
    question = question_of(x)
    first, second = form_of(one, question), form_of(other, question)
    told = same(first, second)
    if told is not None or not first.key or not second.key:
        return told
    return same(first, second, await _similarity(gateway, x, first.text, second.text))


def shown_of(draft: Draft) -> Shown:
    """The answer of a draft, taken apart."""
    child = draft.exchange
    assert child.answer is not None
    return read_shown(child.endpoint, child.streamed, child.answer.body)


def form_of(draft: Draft, question: str | None) -> Canonical:
    """The canonical form of a draft's answer; tool calls are compared by their names and arguments."""
    shown = shown_of(draft)
    if not shown.calls:
        return canonical(shown.text, question)
    calls = [(call.name, value[0] if (value := json_value(call.arguments)) is not None else call.arguments) for call in shown.calls]
    return Canonical("json", f"calls {value_key(sorted(calls, key=value_key))}", "")


def question_of(x: Exchange) -> str | None:
    """What was asked last, as text."""
    return last_user_text(x.body) if x.body is not None else None


async def _looks(gateway: Gateway, x: Exchange, shown: Shown) -> list[Sign]:
    """How the answer ended, and whether it has the form asked for."""
    signs = list(ending_signs(shown))
    if shown.answer is not None and not any(sign.fails for sign in signs):
        signs += await _form(gateway.checks, shown, wanted_of(x.endpoint, x.body))
    return signs


async def _form(checks: Checks | None, shown: Shown, wanted: Wanted) -> list[Sign]:
    """Signs of the form that the request asks for; none where it asks for none."""
    if shown.calls:
        broken = next((problem for call in shown.calls if (problem := broken_call(call, wanted)) is not None), None)
        if broken is None and checks is not None and wanted.tools:
            broken = await _arguments(checks, shown, wanted)
        return [Sign("tool_calls", fails=broken is not None, said=broken or "")]
    if wanted.call:
        return [Sign("tool_calls", fails=True, said="it calls no tool, and must")]
    if not wanted.json:
        return []
    if json_value(shown.text) is None:
        return [Sign("schema", fails=True, said="it is no JSON")]
    problem = await checks.form(shown.text, wanted.schema) if checks is not None and wanted.schema else None
    return [Sign("schema", fails=problem is not None, said=problem or "")]


async def _arguments(checks: Checks, shown: Shown, wanted: Wanted) -> str | None:
    if len(shown.calls) > _MOST_CALLS:
        return f"it calls more than {_MOST_CALLS} tools at once"
    for call in shown.calls:
        schema = (wanted.tools or {}).get(call.name)
        problem = await checks.form(call.arguments, schema) if schema else None
        if problem is not None:
            return f"the arguments of `{call.name[:60]}`: {problem}"
    return None


async def _findings(gateway: Gateway, x: Exchange, shown: Shown, verifiers: bool = True) -> list[Finding]:
    """What the checks of the route say; verifiers are asked last, and only where nothing else fails."""
    checks = gateway.checks
    if checks is None:
        return []
    question, answer = question_of(x) or "", _checked(shown)
    named = checks.of(x)
    found: list[Finding] = []
    for paid in (False, True) if verifiers else (False,):
        if any(finding.sign.fails for finding in found):
            break
        names = [name for name, check in named.items() if (check.kind == "verifier") is paid]
        found += await asyncio.gather(*(checks.find(gateway, x, name, question, answer) for name in names))
    return found


def _checked(shown: Shown) -> str:
    """The text that checks see: the words of an answer, or its tool calls as JSON."""
    if not shown.calls:
        return shown.text
    calls = (msgspec.json.encode({"name": call.name, "arguments": call.arguments}).decode() for call in shown.calls)
    return f"[{','.join(calls)}]"


async def _samples(gateway: Gateway, x: Exchange, first: Draft) -> list[Sign]:
    """How many further answers of the tier say what its first one does."""
    route = x.target.route if x.target is not None else None
    more = route.samples - 1 if route is not None else 0
    if more < 1:
        return []
    samples = await asyncio.gather(*(ask(gateway, x, first.candidate, "sample") for _ in range(more)))
    for sample in samples:
        book(gateway, x, sample, "sample")
    agreeing = 1 + sum([await alike(gateway, x, first, sample) is True for sample in samples if sample.ok])
    return [Sign("samples", agreeing / (more + 1), said=f"{agreeing} of {more + 1} say the same")]


async def _similarity(gateway: Gateway, x: Exchange, one: str, other: str) -> float | None:
    embeddings = gateway.meaning.embeddings if gateway.meaning is not None else None
    if embeddings is None or not embeddings.free or not embeddings.may_see(x.permitted):
        return None
    vectors = await embeddings.of_texts([one, other])
    return None if vectors is None else float(vectors[0] @ vectors[1])


def _asks_odds(x: Exchange) -> bool:
    return x.target is not None and x.target.route is not None and x.target.route.logprobs
