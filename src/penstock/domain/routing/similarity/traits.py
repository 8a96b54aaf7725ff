"""What of a text can change its answer: its words, numbers, negations, quoted spans, in order; read once per text.

The lists know English. What they do not know of another language costs hits there, not answers: words that differ still speak against.
"""

import re
from collections.abc import Container, Mapping, Sequence
from functools import lru_cache
from unicodedata import normalize

import msgspec

LONGEST = 4000
"""characters that are looked at; longer questions are not compared by meaning"""
_TOKEN = re.compile(
    r"`[^`]{1,200}`|\"[^\"]{1,200}\"|“[^”]{1,200}”"  # spans that stand for themselves
    r"|\d+(?:[.,:/-]\d+)*[a-z%]*"  # numbers, versions, dates, 5am
    r"|[^\W\d_]+(?:['\u2019.][^\W\d_]+)*(?:\+\+|#)?\d*"  # words, C++, node.js, mp3
    r"|[+*/=<>^%$€£-](?=\s*\d)",  # signs before numbers
    re.UNICODE,
)
_FUNCTION = frozenset(
    "a about all also am an and any are as at be been being but by can could did do does doing for from get give got had has have "
    "having he hello hey hi her here him his how i i'd i'll i'm i've if in into is it it's its just kindly know let let's like lot "
    "may me might mind my need now of ok okay on or our out please quick question really shall she should so some tell than thank "
    "thanks that that's the their them then there these they this those to too us very want was we were what what's when where "
    "which who whom whose why will wish with would you your".split()
)
"""words that seldom decide what a question is about"""
_ASKING = frozenset("how what what's when where which who whom whose why".split())
_NEGATIONS = frozenset(
    "no not never none nothing nobody neither nor without cannot can't won't don't doesn't didn't isn't aren't wasn't weren't "
    "shouldn't wouldn't couldn't hasn't haven't hadn't mustn't except nicht kein keine ohne pas sans sin nunca non senza".split()
)
_AXES = (
    "on/off enable/disable enabled/disabled activate/deactivate add/remove,delete,subtract install/uninstall "
    "increase/decrease,reduce,lower raise/lower up/down open/close,closed start/stop,end begin/end,finish before/after first/last "
    "buy/sell cheap,cheaper,cheapest/expensive,dearest high,higher,highest/low,lower,lowest more/less,fewer most/least "
    "max,maximum/min,minimum big,bigger,biggest,large,larger,largest/small,smaller,smallest hot,hotter/cold,colder "
    "fast,faster,fastest/slow,slower,slowest early,earlier/late,later left/right north/south east/west import/export "
    "upload/download lock/unlock encrypt/decrypt allow/deny,forbid,block,prohibit accept/reject,decline win/lose love/hate "
    "good,better,best/bad,worse,worst pros/cons advantage,advantages,benefits/disadvantage,disadvantages,drawbacks legal/illegal "
    "safe/unsafe,dangerous possible/impossible true/false yes/no same/different include/exclude show/hide push/pull send/receive "
    "arrive,arrival/depart,departure incoming/outgoing inside/outside old,older,oldest/new,newer,newest,young,younger,youngest "
    "male/female public/private positive/negative maternal/paternal day/night weekday/weekend am/pm increase/decrease "
    "subscribe/unsubscribe connect/disconnect deposit/withdraw,withdrawal credit/debit login/logout mute/unmute follow/unfollow "
    "with/without read/write encode/decode serialize/deserialize compress/decompress mount/unmount merge/split freeze/unfreeze "
    "pause/resume,unpause borrow/lend husband/wife son/daughter father/mother brother/sister he,him,his/she,her,hers "
    "gain/loss,lose hire/fire attach/detach expand/collapse ascending/descending horizontal/vertical internal/external "
    "input/output sender/recipient"
)
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
        "nineteen twenty".split()
    )
} | {
    "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90", "hundred": "100",
    "thousand": "1000", "million": "1000000", "billion": "1000000000", "dozen": "12", "half": "1/2", "quarter": "1/4", "twice": "2",
    "once": "1", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th",
}  # fmt: skip
_FILLERS = frozenset("a an the just really kindly please ok okay quick".split())
"""words without which a question is the same"""
_AROUND = tuple(
    sorted(
        (
            tuple(phrase.split())
            for phrase in (
                "hi/hello/hey/hi there/hello there/hey there/thanks/thank you/thanks lot/thank you very much/thank you so much"
                "/thanks in advance/thanks again/can you tell me/could you tell me/would you tell me/will you tell me/tell me/let me know"
                "/can you let me know/could you let me know/i would like to know/i'd like to know/i want to know/i need to know/question"
                "/i wonder/i was wondering/do you know/can you/could you/would you/will you"
            ).split("/")
        ),
        key=len,
        reverse=True,
    )
)
"""phrases without which it is the same, where it begins or ends with them; fillers are left out of them"""
_THANKS = ("thanks", "thank")
_HOW = ("how", "do")
"""as much as `how can`, where a question begins so"""
_IN_FULL = {
    "what's": ("what", "is"), "who's": ("who", "is"), "where's": ("where", "is"), "how's": ("how", "is"), "that's": ("that", "is"),
    "it's": ("it", "is"), "he's": ("he", "is"), "she's": ("she", "is"), "i'm": ("i", "am"), "you're": ("you", "are"),
    "we're": ("we", "are"), "they're": ("they", "are"), "i've": ("i", "have"), "i'll": ("i", "will"),
}  # fmt: skip
_SIGN = re.compile(
    r"\w?(?:[^\w\s.,:;!?\u2026'\"`\u2018-\u201f()\u00ab\u00bb\u00bf\u00a1\u3002\u3001\uff0c\uff1f\uff01\u2010-\u2015-]|_)+|\w-(?!\w)|\d!|(?<!\w)-\w"
)
"""a sign that is no punctuation, with the letter before it: A+, O-, 5!, an emoji, a currency, a mark on a letter"""
_WAYS = {"from": "from", "by": "from", "to": "to", "into": "to", "for": "to"}
_PLURALS = ("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x")


def _axes() -> Mapping[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for axis, pair in enumerate(_AXES.split()):
        for side, words in enumerate(pair.split("/")):
            for word in words.split(","):
                found.setdefault(word, (axis, side))
    return found


_SIDES = _axes()


class Traits(msgspec.Struct, frozen=True):
    """A text taken apart. Words are in lower case, content words without their endings."""

    words: tuple[str, ...]
    """content words in order, numbers and spans included"""
    bag: frozenset[str]
    numbers: tuple[str, ...]
    """sorted"""
    negations: int
    sides: frozenset[tuple[int, int]]
    """(axis, side) of antonyms that it uses"""
    spans: tuple[str, ...]
    """quoted and code spans, in order"""
    asking: tuple[str, ...]
    """question words, in order"""
    functions: frozenset[str]
    ways: frozenset[tuple[str, str]]
    """(from or to, content word) of words that stand after such a preposition"""
    foreign: bool
    """hardly a word of it is Latin script"""
    length: int
    """of all tokens"""
    sequence: tuple[str, ...]
    """all words in order, function words included, but for articles, fillers and politeness"""
    signs: tuple[str, ...]
    """signs that are neither words nor punctuation, in order"""
    text: str


@lru_cache(maxsize=8192)
def traits(text: str) -> Traits:
    """The traits of a text; at most `LONGEST` characters are looked at."""
    words: list[str] = []
    numbers: list[str] = []
    spans: list[str] = []
    asking: list[str] = []
    functions: set[str] = set()
    sides: set[tuple[int, int]] = set()
    ways: set[tuple[str, str]] = set()
    sequence: list[str] = []
    negations = length = 0
    way: str | None = None
    for found in _TOKEN.finditer(text[:LONGEST].replace("\u2019", "'")):
        raw = found[0]
        length += 1
        if raw[0] in '`"“':
            spans.append(raw[1:-1])
            words.append(raw[1:-1].casefold())
            sequence.append(words[-1])
            way = None
            continue
        token = raw.casefold()
        sequence.extend(_said(token))
        side = _SIDES.get(token)
        if side is not None:
            sides.add(side)
        if token in _NEGATIONS or token.endswith("n't"):
            negations += 1
        elif token in _FUNCTION:
            functions.add(token)
            way = _WAYS.get(token, way)
            if token in _ASKING:
                asking.append(token.removesuffix("'s"))
            continue
        number = _number(token)
        if number is not None:
            numbers.append(number)
            words.append(number)
        else:
            words.append(stem(token))
        if way is not None:
            ways.add((way, words[-1]))
            way = None
    return Traits(
        tuple(words), frozenset(words), tuple(sorted(numbers)), negations, frozenset(sides), tuple(spans), tuple(asking),
        frozenset(functions), frozenset(ways), _is_foreign(text[:LONGEST]), length, _core(sequence),
        tuple(_SIGN.findall(normalize("NFC", text[:LONGEST]).casefold())), text,
    )  # fmt: skip


def _is_foreign(text: str) -> bool:
    if text.isascii():
        return False
    letters = [character for character in text if character.isalpha()]
    return sum(character < "\u0250" for character in letters) * 2 < len(letters)


def _said(token: str) -> Sequence[str]:
    """The words of a token as they count for the order of all."""
    if token in _FILLERS:
        return ()
    if token in _IN_FULL:
        return _IN_FULL[token]
    if token in _FUNCTION:
        return (token,)
    return (_number(token) or stem(token),)


def _core(sequence: Sequence[str]) -> tuple[str, ...]:
    """Without the politeness around it, unless there is nothing else."""
    core = tuple(sequence)
    while True:
        start = next((len(each) for each in _AROUND if core[: len(each)] == each and len(core) > len(each)), 0)
        core = core[start:]
        end = next((len(each) for each in _AROUND if each[0] in _THANKS and core[-len(each) :] == each and len(core) > len(each)), 0)
        core = core[: len(core) - end]
        if not start and not end:
            return (*_HOW, *core[2:]) if core[:2] == ("how", "can") else core


def _number(token: str) -> str | None:
    """The canonical form of a number, or of a sign before one; None for other words."""
    if token in _NUMBER_WORDS:
        return _NUMBER_WORDS[token]
    if token[0].isdigit():
        return token.replace(",", "") if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", token) else token
    return token if not token[0].isalpha() else None


def stem(word: str) -> str:
    """A word without plural and possessive endings: little is taken off, so that few words fall together."""
    word = word.removesuffix("'s")
    if len(word) < 4 or word[-1] != "s" or not word.isascii():
        return word
    for ending, instead in _PLURALS:
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def is_slip(one: str, other: str, known: Container[str]) -> bool:
    """Whether two words differ by one slip of the fingers: a letter dropped, doubled, changed, or two neighbours exchanged.

    Not where both are known words, nor in short words, nor in digits.
    """
    if len(one) > len(other):
        one, other = other, one
    if len(one) < 4 or len(other) - len(one) > 1 or not (one.isalpha() and other.isalpha()) or (one in known and other in known):
        return False
    start = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))
    if len(one) < len(other):
        return one[start:] == other[start + 1 :]
    if one[start + 1 :] == other[start + 1 :]:
        return len(one) > 4
    return one[start : start + 2] == other[start : start + 2][::-1] and one[start + 2 :] == other[start + 2 :]
