"""What the simulated engine says: text, tool calls and JSON that follow from the request alone, and how they are counted.

One token is four UTF-8 bytes of a prompt, or four characters of an answer, rounded up: a stated rule, not a tokenizer.
"""

import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
import orjson

from penstock.adapters.upstreams.simulated.engine import BYTES_PER_TOKEN

OPENING = "This is a simulated answer. "
DEEPEST_SCHEMA = 8
REASONING_TOKENS = {"minimal": 8, "low": 32, "medium": 96, "high": 256}
_SENTENCES = (
    "The gate opens only as far as the turbine can use the water. ",
    "First look at what was asked, then at what it costs to answer it. ",
    "Two of the three readings agree, so the third one is worth a second look. ",
    "The short version is yes, with one condition that is easy to miss. ",
    "A smaller model would have found the same words for this. ",
    "Flow and pressure move together until the valve is half closed. ",
    "Most of the cost comes from the part that is asked again and again. ",
    "Write the result down with its unit, and the mistake shows itself. ",
    "If the level keeps falling, close the intake and call the operator. ",
    "The table in the second section has the figures for last month. ",
    "That holds for each of the cases below, apart from the empty one. ",
    "In practice the slow step is the one that nobody measured. ",
)


class Voice(msgspec.Struct, frozen=True):
    """How one choice is to come out."""

    shortest: int
    longest: int
    limit: int
    """most tokens, reasoning included"""
    stop: tuple[str, ...] = ()
    effort: str | None = None
    schema: Mapping[str, Any] | None = None
    """answer with JSON of this schema"""
    tool: Mapping[str, Any] | None = None
    """answer with a call of this function"""
    known: tuple[str, ...] = ()
    """answer with one of these"""
    final: str = ""
    """what prose ends with"""


class Utterance(msgspec.Struct, frozen=True):
    """One finished choice: what it thinks, then what it says (a tool's arguments, if `tool_name` is set)."""

    reasoning: str
    content: str
    finish_reason: str
    tool_name: str | None = None
    sure: float | None = None
    """mean probability of its tokens, 0 to 1; None: of no meaning"""

    @property
    def reasoning_tokens(self) -> int:
        return count_tokens(len(self.reasoning))

    @property
    def tokens(self) -> int:
        return max(self.reasoning_tokens + count_tokens(len(self.content)), 1)

    def between(self, first: int, last: int) -> tuple[str, str]:
        """Reasoning and content that tokens `first` up to (not including) `last` stand for."""
        border = self.reasoning_tokens
        thought = self.reasoning[first * BYTES_PER_TOKEN : last * BYTES_PER_TOKEN] if first < border else ""
        said = self.content[max(first - border, 0) * BYTES_PER_TOKEN : max(last - border, 0) * BYTES_PER_TOKEN]
        return thought, said


def count_tokens(size: int) -> int:
    """Tokens of that many bytes (prompts) or characters (answers)."""
    return -(-size // BYTES_PER_TOKEN)


def utter(voice: Voice, digest: bytes, sure: float | None = None) -> Utterance:
    """The choice that follows from a digest of the request: the same request, the same words. `sure`: as of the `Utterance`."""
    rng = random.Random(digest)  # noqa: S311  no secret hangs on it
    reasoning = _prose(rng, "Simulated thought. ", REASONING_TOKENS.get(voice.effort or "", 0))
    if voice.tool is not None:
        arguments = _instance_text(voice.tool.get("parameters"), rng)
        return _bounded(Utterance(reasoning, arguments, "tool_calls", str(voice.tool.get("name")), sure), voice)
    if voice.schema is not None:
        return _bounded(Utterance(reasoning, _instance_text(voice.schema, rng), "stop", sure=sure), voice)
    made_up = _prose(rng, OPENING, rng.randint(voice.shortest, voice.longest)) if not voice.known else rng.choice(voice.known)
    content = f"{made_up}{voice.final}".rstrip()
    for stop in voice.stop:
        content = content.partition(stop)[0] if stop else content
    return _bounded(Utterance(reasoning, content, "stop", sure=sure), voice)


def _prose(rng: random.Random, opening: str, tokens: int) -> str:
    """Whole sentences of about that many tokens; none for 0."""
    parts = [opening] if tokens else []
    size = len(opening)
    while tokens and size < tokens * BYTES_PER_TOKEN:
        parts.append(rng.choice(_SENTENCES))
        size += len(parts[-1])
    return "".join(parts)


def _bounded(whole: Utterance, voice: Voice) -> Utterance:
    if whole.tokens <= voice.limit:
        return whole
    reasoning, content = whole.between(0, voice.limit)
    return msgspec.structs.replace(whole, reasoning=reasoning, content=content, finish_reason="length")


def _instance_text(schema: object, rng: random.Random) -> str:
    return orjson.dumps(instance(schema if isinstance(schema, Mapping) else {"type": "object"}, rng)).decode()


def instance(schema: Mapping[str, Any], rng: random.Random, root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """A small value that a JSON Schema allows, as far as type, properties, items, enum, const, anyOf and $ref say."""
    root = schema if root is None else root
    if "const" in schema:
        return schema["const"]
    if options := schema.get("enum"):
        return rng.choice(options)
    if reference := schema.get("$ref"):
        target = _resolve(str(reference), root)
        return instance(target, rng, root, depth + 1) if depth < DEEPEST_SCHEMA else None
    for union in ("anyOf", "oneOf", "allOf"):
        if (members := schema.get(union)) and isinstance(members[0], Mapping):
            return instance(members[0], rng, root, depth + 1) if depth < DEEPEST_SCHEMA else None
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, Sequence) and not isinstance(kind, str) and kind else kind
    return _instance_of(str(kind), schema, rng, root, depth)


def _instance_of(kind: str, schema: Mapping[str, Any], rng: random.Random, root: Mapping[str, Any], depth: int) -> Any:
    low = schema.get("minimum", 1)
    match kind:
        case "object":
            properties = schema.get("properties", {})
            if depth >= DEEPEST_SCHEMA or not isinstance(properties, Mapping):
                return {}
            return {name: instance(each, rng, root, depth + 1) for name, each in properties.items() if isinstance(each, Mapping)}
        case "array":
            items = schema.get("items")
            count = max(int(schema.get("minItems", 1)), 1)
            if depth >= DEEPEST_SCHEMA or not isinstance(items, Mapping):
                return []
            return [instance(items, rng, root, depth + 1) for _ in range(min(count, 64))]
        case "integer":
            return min(int(low) + rng.randint(0, 9), int(schema.get("maximum", 2**31)))
        case "number":
            return min(float(low) + rng.randint(0, 9) / 4, float(schema.get("maximum", 2**31)))
        case "boolean":
            return rng.random() < 0.5
        case "null":
            return None
    return rng.choice(("simulated", "penstock", "river", "turbine"))


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    target: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        target = target.get(part, {}) if part and isinstance(target, Mapping) else target
    return target if isinstance(target, Mapping) else {}


def digest_of(*parts: bytes) -> bytes:
    """Of what decides an answer; parts cannot run into each other."""
    state = blake2b(digest_size=16)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()
