"""The text of an answer, and whether two answers say the same: the evidence from which the cache learns how often it errs.

`agreement` is a judge with noise. It is sure of equal texts and of short facts (numbers, yes and no, a word or two). It takes synonyms for
different short answers ("car", "automobile"), knows yes, no and negation of European languages only, and antonyms in English only. For the
rest it believes the cosine of the two answers, whose map is a judgement that was checked by hand on two dozen pairs. Where other numbers,
code, signs, antonyms, names or another order of the same words contradict the cosine, it says the opposite of answers that are one text
otherwise, and nothing of others. Where it cannot tell, it says so: such a comparison teaches nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from math import isnan
from typing import cast

import orjson

from penstock.domain.dialects.canonical import Answer, Text, Thinking, Untranslatable
from penstock.domain.dialects.chat.answers import read_chat_answer
from penstock.domain.dialects.chat.assembling import assemble
from penstock.domain.dialects.forms import whole_of
from penstock.domain.dialects.messages.answers import read_messages_answer
from penstock.domain.dialects.responses.answers import read_responses_answer
from penstock.domain.dialects.sse import split_events
from penstock.domain.dialects.streams import Native
from penstock.domain.routing.similarity.guards import known_words, opposite
from penstock.domain.routing.similarity.traits import traits

READERS: Mapping[str, Callable[[object, str], Answer]] = {
    "chat.completions": read_chat_answer,
    "responses": read_responses_answer,
    "messages": read_messages_answer,
}
"""by endpoint"""
_REGULAR = ("end", "stop_sequence")
_REGULAR_REASONS = frozenset({"stop", "eos_token", "eos", "stop_sequence"})
"""of legacy completions; `length` is none, a truncated answer is nobody else's"""

_COMPARED = 20_000
"""characters of each answer that are looked at word by word"""
_SHORT = 6
"""words; shorter answers are facts, to be compared word by word"""
_TEMPLATE = 0.6
"""share of words in common from which two sentences are one sentence, filled in twice"""
_FILLED_IN = 3
"""words on either side that a template is filled in with, at most"""
_ONE_TEXT = 0.8
"""share of words in common from which two whole answers are one text but for what differs"""
_RENAMED = 5
"""words on either side that may be names in it, at most"""
_CODE = re.compile(r"```[^\n`]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_SIGNS = re.compile(r"[<>=!]=?(?=[\s\w(])(?<![a-z]!)|\w[+-](?![\w+-])|[%\u20ac$\u00a3\u00a5\u00b0]")
_MARKERS = re.compile(r"^\s*(?:#+ |\*\*)?(?:step )?\d{1,2}[.):] ", re.MULTILINE | re.IGNORECASE)
"""of numbered lists"""
_MAP = ((0.5, 0.0), (0.7, 0.2), (0.82, 0.8), (0.9, 0.97), (1.0, 0.999))
"""cosine of two longer answers (MiniLM) -> probability that they say the same, for questions that were held to be alike; linear between"""
_ROUNDED_FROM = 10
_MOST_NUMBERS = 30
"""of a sentence that are compared"""
_UNTOLD = (0.2, 0.8)
"""probabilities between these say nothing"""

_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""scripts without spaces between words (Thai to Chinese), of which each character counts as a word"""
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+(?:[.,'\u2019-][^\W_{_UNSPACED}]+)*[+#]{{0,2}}")
_NUMBER = re.compile(r"(?<![\w.])[-\u2212]?\d[\d,]*(?:\.\d+)?")
_SENTENCE = re.compile(r".*?(?:[.!?](?=\s|$)|[\u3002\uff01\uff1f]|$)", re.DOTALL)
_LISTED = re.compile(r"\d{1,2}[.)] ")
_EMPHASIS = re.compile(r"(?<!\w)\*\*(?=\w)|(?<=[\w.!?:,)])\*\*(?!\w)|`+|^#+ ", re.MULTILINE)
_NUMBER_WORDS = dict(zip("zero one two three four five six seven eight nine ten eleven twelve".split(), range(13), strict=True)) | dict(
    zip("fifteen twenty thirty forty fifty sixty seventy eighty ninety".split(), (15, *range(20, 100, 10)), strict=True)
)
_YES = frozenset({"yes", "yeah", "yep", "correct", "true", "ja", "oui", "sí", "sim"})
_NO = frozenset({"no", "nope", "incorrect", "false", "nein", "non", "não"})
_NOT = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|neither|nor|without|cannot|unable|impossible|\w+n['\u2019]t|nicht|keine?[nrsm]?|nie|niemals|ne|jamais"
    r"|aucune?|nunca|ningun[oa]?|unavailable|disabled|invalid|illegal|prohibited|forbidden)\b"
)
_FILLERS = frozenset({
    "a", "about", "an", "approximately", "around", "are", "at", "exactly", "in", "is", "it", "it's", "of", "on", "roughly", "that", "the",
    "to", "was",
})  # fmt: skip


def answer_text(endpoint: str, streamed: bool, body: bytes) -> str | None:
    """The text of an answer as it was kept: a body of JSON, or the events of its stream.

    None unless it is one plain text that came to its regular end: no tool calls, refusals, images, citations or several answers, neither
    truncated nor filtered nor broken off. What the model thought before is passed over. Raises nothing.
    """
    whole = whole_answer(endpoint, streamed, body)
    if endpoint == "completions":
        return _completion_text(whole)
    read = READERS.get(endpoint)
    if read is None:
        return None
    try:
        answer = read(whole, "")
    except Untranslatable:
        return None
    texts = [block.text for block in answer.blocks if isinstance(block, Text)]
    plain = all(isinstance(block, Text | Thinking) for block in answer.blocks)
    return texts[0] if plain and len(texts) == 1 and texts[0].strip() and answer.stop in _REGULAR else None


def agreement(a: str, b: str, similarity: float | None) -> float | None:
    """The probability that two answers to questions much alike say the same; None: it cannot be told.

    1.0: equal but for white space, case, emphasis and final punctuation, or short answers of the same number. 0.0: one says yes and the
    other no, a sentence and its negation, a text with other numbers, signs, code, antonyms or directions, or short answers without a word
    in common. Otherwise a monotone function of `similarity`, the cosine of the two answers (None: unknown). Symmetric in `a` and `b`.
    """
    one, other = _plain(a), _plain(b)
    if one == other:
        return 1.0
    if similarity is not None and isnan(similarity):
        similarity = None
    if len(a) > _COMPARED or len(b) > _COMPARED:
        return None if similarity is None else _told(_probability(similarity))
    first, second = _Words(one, a), _Words(other, b)
    if first.polarity is not None and second.polarity is not None and first.polarity != second.polarity:
        return 0.0
    if first.short or second.short:
        return _facts(first, second)
    return _sentences(first, second, similarity)


class _Words:
    """What is compared of an answer."""

    def __init__(self, text: str, raw: str) -> None:
        """`text`: in plain form; `raw`: as it came."""
        opening = _SENTENCE.match(_LISTED.sub("", text, count=1) if _LISTED.match(text) else text)
        lead = opening[0] if opening is not None and opening[0].strip() else text
        words = _WORD.findall(text)
        self.short = len(words) < _SHORT
        self.polarity = None if not words else True if words[0] in _YES else False if words[0] in _NO else None
        self.negated = bool(_NOT.search(lead))
        self.numbers = _numbers(lead, words if self.short else [])
        self.words = frozenset(word for word in _WORD.findall(lead) if not _NUMBER.fullmatch(word) and not _NOT.fullmatch(word))
        self.content = frozenset(word for word in self.words if word not in _FILLERS and word not in _NUMBER_WORDS)
        self.all = frozenset(words)
        self.order = tuple(words)
        self.raw, self.text = raw, text

    @property
    def whole_numbers(self) -> tuple[Decimal, ...]:
        """Those of the whole answer, numbers of lists left out."""
        return _numbers(_plain(_MARKERS.sub("", self.raw)), [word for word in self.order if word != "one"])

    @property
    def code(self) -> frozenset[str]:
        return frozenset(" ".join((block or span).split()) for block, span in _CODE.findall(self.raw))

    @property
    def signs(self) -> frozenset[str]:
        return frozenset(_SIGNS.findall(self.text))


def whole_answer(endpoint: str, streamed: bool, body: bytes) -> object:
    """The JSON of an answer as it was kept, put together from its events where it was streamed; None where it cannot be read."""
    if streamed and (endpoint == "messages" or endpoint == "responses"):
        return whole_of(cast(Native, endpoint), split_events(body)[0])
    try:
        whole = assemble(split_events(body)[0]) if streamed else body
        return None if whole is None else orjson.loads(whole)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None


def _completion_text(whole: object) -> str | None:
    choices = whole.get("choices") if isinstance(whole, dict) and whole.get("error") is None else None
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return None
    text, reason = choices[0].get("text"), choices[0].get("finish_reason")
    regular = isinstance(reason, str) and reason in _REGULAR_REASONS
    return text if regular and isinstance(text, str) and text.strip() else None


def _plain(text: str) -> str:
    """An answer without what only dresses it: case, white space, emphasis, final punctuation."""
    plain = " ".join(_EMPHASIS.sub("", text).split()).lower().rstrip(".\u2026 ")
    bare = plain.rstrip("!")
    return bare if bare[-1:].isalpha() else plain


def _facts(first: _Words, second: _Words) -> float | None:
    """Of short answers only equality counts, or the equality of their numbers; a short one beside a long one is told by differences."""
    within = first.content <= second.content or second.content <= first.content
    if first.numbers and second.numbers:
        if not _numbers_agree(first.numbers, second.numbers):
            return 0.0
        same = _within(first.numbers, second.numbers) and _within(second.numbers, first.numbers)
        return 1.0 if same and within and first.negated == second.negated else None
    if first.polarity is not None or second.polarity is not None:
        return None
    if within and first.content and second.content and first.negated != second.negated:
        return 0.0
    apart = not first.content & second.all and not second.content & first.all
    return 0.0 if apart and first.content and second.content else None


def _sentences(first: _Words, second: _Words, similarity: float | None) -> float | None:
    common = len(first.words & second.words) / max(len(first.words | second.words), 1)
    if common >= _TEMPLATE and first.negated != second.negated:
        return 0.0
    differ = not _numbers_agree(first.numbers, second.numbers)
    if differ and common >= _TEMPLATE:
        return 0.0
    whole = len(first.all & second.all) / max(len(first.all | second.all), 1)
    contradict = _contradict(first, second, whole)
    if contradict and whole >= _ONE_TEXT:
        return 0.0
    if similarity is None:
        return None
    probability = _probability(similarity)
    mine, theirs = first.content - second.content, second.content - first.content
    filled_in = common >= _TEMPLATE and 0 < len(mine) <= _FILLED_IN and 0 < len(theirs) <= _FILLED_IN
    if contradict or _renamed(first, second, whole) or differ or filled_in or first.negated != second.negated:
        probability = min(probability, 0.5)
    return _told(probability)


def _contradict(first: _Words, second: _Words, whole: float) -> bool:
    """Whether numbers, code, signs, antonyms, the order or the direction of the whole answers exclude each other."""
    if not _numbers_agree(first.whole_numbers, second.whole_numbers):
        return True
    if first.code and second.code and not (first.code <= second.code or second.code <= first.code):
        return True
    if first.signs and second.signs and first.signs != second.signs:
        return True
    mine, theirs = traits(first.text), traits(second.text)
    sides = {(axis, 1 - side) for axis, side in mine.sides - theirs.sides}
    if sides & (theirs.sides - mine.sides) or opposite(mine.ways, theirs.ways):
        return True
    if whole >= _TEMPLATE and mine.negations != theirs.negations:
        return True
    return whole >= _ONE_TEXT and mine.words != theirs.words and sorted(mine.words) == sorted(theirs.words)


def _renamed(first: _Words, second: _Words, whole: float) -> bool:
    """Whether the whole answers are one text with a few other words in it that are no common English ones: names, other languages."""
    mine, theirs, known = first.all - second.all - _FILLERS, second.all - first.all - _FILLERS, known_words()
    few = 0 < len(mine) <= _RENAMED and 0 < len(theirs) <= _RENAMED
    return few and whole >= _TEMPLATE and not (mine <= known and theirs <= known)


def _probability(similarity: float) -> float:
    for (low, below), (high, above) in pairwise(_MAP):
        if similarity <= high:
            return below + (above - below) * max(similarity - low, 0.0) / (high - low)
    return _MAP[-1][1]


def _told(probability: float) -> float | None:
    return None if _UNTOLD[0] < probability < _UNTOLD[1] else probability


def _numbers(text: str, short_words: list[str]) -> tuple[Decimal, ...]:
    digits = (Decimal(found.replace(",", "").replace("\u2212", "-")) for found in _NUMBER.findall(text))
    words = (Decimal(_NUMBER_WORDS[word]) for word in short_words if word in _NUMBER_WORDS)
    return tuple(sorted({*digits, *words})[:_MOST_NUMBERS])


def _numbers_agree(some: Sequence[Decimal], others: Sequence[Decimal]) -> bool:
    """Whether one side tells no number that the other lacks."""
    return _within(some, others) or _within(others, some)


def _within(some: Sequence[Decimal], others: Sequence[Decimal]) -> bool:
    return all(any(_rounded(one, other) for other in others) for one in some)


def _rounded(one: Decimal, other: Decimal) -> bool:
    """Whether two numbers are one, rounded differently; small ones are counts and versions, and are not rounded."""
    if one == other:
        return True
    places = max(_exponent(one), _exponent(other))
    return (
        min(abs(one), abs(other)) >= _ROUNDED_FROM and _exponent(one) != _exponent(other) and abs(one - other) * 2 <= Decimal(10) ** places
    )


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)  # no infinity is written in digits
    return exponent
