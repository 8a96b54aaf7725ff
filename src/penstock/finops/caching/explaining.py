"""Why a request was, or was not, answered in somebody else's words: the decision of the semantic cache, told in lines."""

from typing import NamedTuple

from penstock.domain.ledger.record import CacheDecision, UsageRecord
from penstock.domain.units import format_usd
from penstock.finops.caching.changing import PIN
from penstock.finops.caching.finding import age_words


class Why(NamedTuple):
    """One line: what it is about, and what is said of it. `request`: the request to look at further."""

    about: str
    text: str
    request: str | None = None


def why_cached(record: UsageRecord, source: UsageRecord | None) -> tuple[Why, ...]:
    """The lines; none where the semantic cache was not asked. `source`: the record that the entry's answer was made for, if it is known."""
    told = record.cache_decision
    if told is None:
        return ()
    lines = [Why("by meaning", _verdict(record, told))]
    if told.entry is not None:
        named = None if told.entry.startswith(PIN) else told.entry
        lines.append(Why("entry", _whose(record, told.entry, source), named))
    if told.similarity is not None:
        lines.append(Why("similarity", f"{told.similarity:.4f} (cosine){_least(told)}"))
        spoke = ", ".join(told.guards)
        lines.append(Why("guards", f"differ in {spoke}" if spoke else "no difference in numbers, negation, names and the like"))
    if told.risk is not None and told.mode != "zero-trust" and not (told.entry or "").startswith(PIN):  # there nothing is served by it
        lines.append(Why("risk", f"{_percent(told.risk)} that the answer is another one{_most(told)}"))
    if told.propensity is not None and told.mode != "shadow" and told.verdict in ("served", "probe"):
        others = ", the others ask the model to measure" if told.propensity < 1 else ""
        lines.append(Why("chance", f"{_percent(told.propensity)} of such requests are answered so{others}"))
    if record.would_cache is not None:
        lines.append(Why("would have been", f"answered from the cache ({record.would_cache})"))
    if told.embedding_us is not None or record.embedding_cost != 0:
        lines.append(Why("embedding", _embedding(record, told)))
    return tuple(lines)


def source_words(id: str) -> str:
    """What an answer was replayed from: a request, or what a person wrote."""
    return f"entry {id}" if id.startswith(PIN) else f"request {id}"


def _verdict(record: UsageRecord, told: CacheDecision) -> str:
    mode = f", mode {told.mode}"
    if told.verdict == "served":
        what = "the same words were asked before" if record.cache == "normalised" else "served: the entry below means the same"
    elif told.verdict == "probe" and told.mode == "shadow":
        what = "sent to the model, though it could have been served: nothing is served by meaning"
    elif told.verdict == "probe":
        what = "sent to the model, though it could have been served: so it is measured how often the cache is wrong"
    elif told.verdict == "refused":
        what = "not served: what was nearest is not near enough"
    elif told.verdict == "nothing":
        what = "not served: nothing near it is kept for this caller"
    elif told.verdict == "unfit":
        what = f"never answered by meaning: {told.reason or 'unknown'}"
    else:
        what = f"could not be looked up: {told.reason or 'unknown'}"
    return what + mode


def _whose(record: UsageRecord, entry: str, source: UsageRecord | None) -> str:
    if entry.startswith(PIN):
        return f"{entry}, whose answer a person wrote"
    if source is None:
        return f"the answer of request {entry}, which is not in the ledger any more"
    age = age_words(record.admitted_ns - source.admitted_ns)
    user, key = source.tags.get("user"), source.key_id
    who = ", ".join(filter(None, (user and f"user {user}", key and f"key {key}"))) or "somebody without a key"
    return f"the answer of request {entry}, {age} before, by {who}, from {source.model or 'unknown model'}"


def _least(told: CacheDecision) -> str:
    return f", at least {told.threshold:g} is asked for" if told.mode == "zero-trust" and told.threshold is not None else ""


def _most(told: CacheDecision) -> str:
    return f", at most {_percent(told.threshold)} was served" if told.mode != "zero-trust" and told.threshold is not None else ""


def _embedding(record: UsageRecord, told: CacheDecision) -> str:
    took = "" if told.embedding_us is None else f"{told.embedding_us / 1000:,.1f} ms"
    cost = "" if record.embedding_cost == 0 else f"{format_usd(record.embedding_cost) or 'unknown'} USD"
    return ", ".join(filter(None, (took, cost)))


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share * 100:.3g} %"
