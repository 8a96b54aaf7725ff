"""When two questions are the same words: but for white space, final punctuation, politeness, and capitals that a sentence begins with.

What is likely to change an answer stays: code, formulae, quoted passages, several lines, texts to be worked on (after a colon), questions
about spelling, words in capitals (`SOLID`), capitals within a sentence (`Bush`), the question mark of what is a statement without it, and
exclamation marks of formulae (`5!`). A text wholly in capitals is one in small letters. The rules are about form and know no meaning, so
the same words may still be asked with another one: `apple` at the beginning of a sentence is the company's or the fruit's.
"""

import re
from functools import lru_cache
from unicodedata import normalize

LONGEST = 2_000
"""characters; longer texts are left as they are, so that the time for strange ones (runs of accents) is bounded too"""

_LITERAL = re.compile(
    r"[`\n\r\v\f\x1c-\x1e\x85\u2028\u2029\t{}\[\]<>=\\^|*_@~;]"  # code, markup, tables, patterns, formulae, several lines
    r"|\w\(|::|//|\?\? ?\w|(?:^|\s)(?:[.~]{0,2}/\w|--?[A-Za-z])|\$[A-Za-z]|%[A-Za-z]"  # calls, addresses, paths, options, variables
    r"|\b(?:how many|number of|which|what|first|last|small|each|every|counts?|counting)(?: the| capital)? (?:letters?|characters?)\b"
    r"|\b(?:capital letters?|(?:in|block|all) capitals|(?:upper|lower|camel|snake|title)[- ]?case|capitali[sz]e\w*|punctuat\w*|grammar"
    r"|proofread\w*|rewrite|rephrase|paraphrase|reg(?:ular )?ex\w*|base ?64|md5|sha-?\d+|hash\w*|encod\w*|cipher\w*|anagrams?)\b",
    re.IGNORECASE,
)
"""what makes case, white space or punctuation part of what is asked"""
_PAYLOAD = re.compile(r"[^\W\d]\s?:\s+\S")
"""`Translate: ...`: what follows the colon is worked on, and every sign of it counts"""
_SAME_SIGN = str.maketrans(
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width ASCII
    | dict.fromkeys((0x200B, 0x2060, 0xFEFF, 0xAD))  # nothing to see: zero-width space, word joiner, byte order mark, soft hyphen
    | dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033"), '"')
    | dict.fromkeys(map(ord, "\u2018\u2019\u201b"), "'")
)
_QUOTED = re.compile(r'("[^"]*")')
_QUOTED_OR_WORD = re.compile(r"\"[^\"]*\"|[^\W_]+(?:'[^\W_]+)*")
_SPACE = re.compile(r"\s+")
_ENDS = ".!?\u2026\u061f\u0964\u3002"
"""full stop, exclamation and question mark, ellipsis; the Arabic question mark, the danda, the ideographic full stop"""
_MARKS = "?\u061f"
_PAIRS = (('"', '"'), ("'", "'"), ("\u00ab", "\u00bb"))
_TAIL = 80
"""characters; no polite ending is longer"""

_GREETING = (
    r"(?:hi|hello|hey|hiya|greetings|good (?:morning|afternoon|evening|day)|dear (?:sir or madam|sir|madam|team|all|assistant)|excuse me"
    r"|hallo|guten (?:tag|morgen|abend)|bonjour|bonsoir|salut|hola|buen[oa]s (?:d\u00edas|dias|tardes|noches)|ciao|buongiorno|buonasera"
    r"|ol[\u00e1a]|bom dia|boa (?:tarde|noite))(?: there| everyone| everybody| team| all)?"
)
_NOT_A_NAME = r"(?!(?:world|dolly|kitty|goodbye|goodnight|bye|jude|vietnam|america)\b)"
"""with which "hello" is a name"""
_ASKS = r"(?:what|what's|whats|who|who's|whom|whose|which|where|where's|how|how's|why)"
_BEGINS = (
    rf"(?=(?:{_ASKS}|when|can|could|would|will|please|pls|should|do|does|did|are|was|were|tell|show|give|explain"
    r"|i (?:need|want|would|have|am|can't|cannot|lost|forgot|was|got|tried|think)|i'm|i'd|i've"
    r"|wie|wer|wann|warum|wo|welche[rsmn]?|kannst|k\u00f6nnen|kann|ich|comment|pourquoi|quel(?:le)?s?|qui|o\u00f9|quand|est-ce|je|puis-je"
    r"|c[o\u00f3]mo|qu[e\u00e9]|qui[e\u00e9]n|cu[a\u00e1]l|cu[a\u00e1]ndo|d[o\u00f3]nde|puedo|puedes|come|perch[e\u00e9]|chi|quando|dove"
    r"|como|quem|onde|posso)\b)"
)
"""how questions begin that a greeting stands before without a comma"""
_PLEASE = r"(?:please|pls|plz|kindly|bitte|s'il (?:vous|te) pla[i\u00ee]t|por favor|per favore)"
_THANKS = (
    r"(?:(?:many )?thanks(?: (?:a lot|so much|in advance|again))?|thank you(?: (?:very much|so much|in advance|kindly|again))?|thx"
    r"|danke(?: sch[\u00f6o]n| im voraus)?|vielen dank(?: im voraus)?|merci(?: beaucoup| d'avance)?|(?:muchas )?gracias|grazie(?: mille)?"
    r"|(?:muito )?obrigad[oa])"
)
_POLITE_START = re.compile(
    rf"{_GREETING}(?: ?[,!.:]+| [\u2013-]) {_NOT_A_NAME}(?=\w)|{_GREETING} {_BEGINS}"
    r"|(?:(?:just )?(?:a |one )?quick |one |a |my )?question(?: ?[:,]| [\u2013-]) (?=\w)"
    rf"|{_PLEASE},? (?!(?:please|me|my|mr|mister|don't|dont|do not|your|the|him|her|them|us)\b)(?=\w)"
    r"|(?:can|could|would|will) you (?:please|kindly),? (?=\w)"
    rf"|(?:(?:can|could|would|will) you )?tell me (?={_ASKS}\b)"
    rf"|i(?: would|'d) like to know (?={_ASKS}\b)",
    re.IGNORECASE,
)
_POLITE_END = re.compile(rf"([,.!?\u2026\u2013-] ?| )(?:{_PLEASE}|{_THANKS})$", re.IGNORECASE)
_OBJECT_OF = frozenset({
    "a", "an", "and", "are", "as", "auf", "by", "de", "di", "e", "et", "for", "from", "her", "his", "in", "is", "ja", "like", "lyrics",
    "made", "many", "me", "mean", "means", "my", "named", "nein", "no", "non", "not", "of", "on", "or", "oui", "our", "play", "recorded",
    "sang", "si", "sing", "song", "s\u00ed", "tell", "than", "that", "the", "their", "this", "to", "und", "von", "wie", "with", "without",
    "word", "words", "write", "wrote", "y", "yes", "your", "zu",
})  # fmt: skip
"""words after which `thanks` may be what is asked about"""
_ENOUGH_SAID = 3
"""words before `thanks` without a comma"""
_GIVES_THANKS = frozenset({
    "accept", "bedeutet", "deserve", "deserves", "express", "expressed", "expresses", "expressing", "gave", "get", "gets", "give", "given",
    "gives", "giving", "hear", "meaning", "meant", "offer", "offered", "offering", "owe", "return", "returned", "send", "sending", "sends",
    "sent", "signifie", "significa", "veut", "bedeuten", "hei\u00dft", "heisst", "quiere", "vuol",
})  # fmt: skip
"""verbs whose object it may be"""
_ABOUT_WORDS = re.compile(
    r"\b(?:say|says|said|saying|translat\w*|phrase\w*|pronounc\w*|reply|respond|titled?|called|spell\w*"
    r"|sag(?:en|t|st)|hei(?:\u00df|ss)t|\u00fcbersetz\w*|dire|dit|tradu\w*|decir|dice|dizer|diz)\b",
    re.IGNORECASE,
)
"""questions about words, in which politeness may be the subject"""

_CAPITALS_MATTER = frozenset({
    "act", "aids", "aim", "apt", "arm", "art", "bar", "bat", "bit", "cad", "cam", "cap", "care", "cat", "chip", "co", "cop", "dad",
    "dart", "die", "dim", "do", "doc", "dos", "ear", "eat", "em", "era", "fast", "fat", "fed", "fit", "gap", "gas", "go", "hip", "ice",
    "id", "in", "ira", "it", "lab", "lamp", "lap", "laser", "latex", "lot", "mac", "mad", "map", "mash", "mat", "me", "mice", "mit",
    "moss", "nice", "no", "nut", "on", "or", "pa", "pal", "pan", "par", "pat", "pen", "pet", "pi", "pie", "pin", "pip", "post", "pot",
    "pow", "ram", "rat", "rest", "rip", "rod", "rom", "sad", "sap", "sat", "sea", "set", "sim", "sin", "sip", "smart", "so", "soap",
    "son", "spa", "star", "start", "swift", "tan", "tax", "tip", "tips", "us", "van", "vat", "who", "wins", "yam", "zip",
})  # fmt: skip
"""words that are something else in capitals (IT, US, WHO, AIDS)"""
_CAPITAL_MATTERS = frozenset({
    "access", "amazon", "apple", "april", "august", "bath", "bill", "boulder", "chad", "chase", "china", "chrome", "cork", "dart",
    "delta", "discord", "edge", "excel", "flask", "frank", "gap", "general", "georgia", "go", "guinea", "hamburg", "hope", "ihm", "ihnen",
    "ihr", "ihre", "ihrem", "ihren", "ihrer", "island", "ivy", "jack", "japan", "java", "jersey", "job", "jordan", "kiwi", "lima", "link",
    "lisp", "march", "mark", "mars", "may", "mercury", "meta", "mobile", "nice", "notion", "office", "opera", "oracle", "orange",
    "outlook", "pages", "pascal", "pole", "poles", "polish", "python", "ray", "reading", "ring", "robin", "rose", "ruby", "rust",
    "safari", "scala", "scratch", "shell", "sie", "signal", "slack", "square", "steam", "stripe", "subway", "sun", "surface", "swede",
    "swift", "target", "teams", "turkey", "twitch", "visa", "wales", "will", "windows", "word", "zoom",
})  # fmt: skip
"""words that are something else with a capital (Polish, Turkey, March, Rust; German's Sie), where it does not begin a sentence"""
_CLAUSE = re.compile(r"[.!?,:;] ")
_ASKED_AT_END = re.compile(rf"\b(?:{_ASKS}|when|which [\w-]+|what [\w-]+)$", re.IGNORECASE)
_DEMAND = re.compile(
    rf"^(?:{_GREETING},? |{_PLEASE},? )*(?:\d|steps?|ways?|flights?|translation|meaning|tell|show|give|explain|describe|define|convert|find"
    r"|search|look|list|create|make|write|add|remove|delete|cancel|book|order|buy|pay|transfer|send|post|share|play|pause|skip|set|reset"
    r"|change|modify|alter|switch|turn|start|open|close|put|remind|wake|call|text|email|check|calculate|compute|translate|summari[sz]e"
    r"|compare|install|update|schedule|reserve|help|let|go|get|take|name|suggest|recommend|i (?:need|want) to know)\b",
    re.IGNORECASE,
)
"""how what is demanded begins, or a heading: no question mark makes it another"""
_ABBREVIATED = re.compile(r"\b(?:dr|mr|mrs|ms|prof|st|vs|no|jr|sr|mt|e\.g|i\.e)\.$", re.IGNORECASE)
"""after which a capital begins no sentence"""
_CLOCK = frozenset({"am", "pm"})
_SHOUTED_FROM = 3
"""words; fewer in capitals may be a name of that form"""
_ASKED = re.compile(
    rf"^(?:\u00bf|{_GREETING},? |{_PLEASE},? )*"
    rf"(?:(?:and|but|so|then|in|on|at|for|from|to|by|with|of|about|under|up|since|until|during|through) )?"
    rf"(?:{_ASKS}|what're|what'd|when|when's|why's|is|isn't|are|aren't|am|was|wasn't|were|weren't|do|don't|does|doesn't|did|didn't"
    r"|can|can't|cannot|could|couldn't|will|won't|would|wouldn't|shall|should|shouldn't|may|might|must|has|hasn't|have|haven't|had"
    r"|wie|was|wer|wen|wem|wessen|wann|warum|weshalb|wieso|wo|wohin|woher|welche[rsmn]?|kannst|comment|pourquoi|quel(?:le)?s?|o\u00f9|quand"
    r"|combien|est-ce|qu'est-ce|puis-je"
    r"|c\u00f3mo|qu\u00e9|qui\u00e9n(?:es)?|cu\u00e1l(?:es)?|cu\u00e1ndo|d\u00f3nde|cu\u00e1nt[oa]s?|por qu\u00e9"
    r"|perch\u00e9|quando|dove|quanto|chi|onde|quem)\b",
    re.IGNORECASE,
)
"""how what is asked begins, with a question mark or without; elsewhere the mark makes the question"""
_UNITS = frozenset({
    "cal", "gb", "gbps", "gs", "kb", "kbps", "kcal", "ma", "mb", "mbps", "mg", "mj", "mm", "mpa", "ms", "mv", "mw", "nm", "pa", "pb",
    "tb",
})  # fmt: skip
"""units that are others in capitals; those of one letter count too"""


@lru_cache(maxsize=4096)  # asked for the key of a question, and again for what it is compared by
def normalised(text: str) -> str:
    """The question in the form in which it is compared: equal forms are the same question. Never empty for a text that is not.

    Idempotent, linear in the length of the text. Knows politeness in English, German, French, Spanish, Italian and Portuguese.
    """
    return _simplest(text, strictly=True)


@lru_cache(maxsize=4096)
def loosened(text: str) -> str:
    """As `normalised`, but blind to most capitals, final question marks and "thanks" as an object: what the judge's features go by."""
    return _simplest(text, strictly=False)


def _simplest(text: str, strictly: bool) -> str:
    now = text.strip() or text
    if len(now) > LONGEST:
        return now
    while True:
        then = _simpler(now, strictly)
        if then == now:
            return now
        now = then


def _simpler(text: str, strictly: bool) -> str:
    """One round; a text that no round changes is in its form."""
    if _LITERAL.search(text):
        return text
    about_words = _ABOUT_WORDS.search(text) is not None
    if not about_words:
        text = _kept(_without_greetings(text), text)
    if _PAYLOAD.search(text):
        return text
    text = normalize("NFC", text.translate(_SAME_SIGN)) or text
    text = "".join(part if part.startswith('"') else _SPACE.sub(" ", part) for part in _QUOTED.split(text)).strip() or text
    if not about_words:
        text = _kept(_without_thanks(text, strictly), text)
    text = _kept(_without_end(text, strictly), text)
    text = _kept(_unquoted(text), text)
    return normalize("NFC", _in_small_letters(text, strictly))


def _kept(shorter: str, text: str) -> str:
    """The shorter text, unless no word is left of it."""
    return shorter if any(map(str.isalnum, shorter)) else text


def _without_greetings(text: str) -> str:
    at = 0
    while (greeting := _POLITE_START.match(text, at)) is not None:
        at = greeting.end()
    return text[at:]


def _without_thanks(text: str, strictly: bool) -> str:
    end, sign = len(text), ""
    while True:
        tail = text[max(end - _TAIL, 0) : end]
        ending = _POLITE_END.search(tail)
        if ending is None or (ending[1] == " " and _asks_about_it(tail[: ending.start()], strictly)):
            return text[:end] + sign
        end -= len(tail) - ending.start()
        sign = ending[1][0] if ending[1][0] in _ENDS else ""


def _asks_about_it(before: str, strictly: bool) -> bool:
    """Whether the polite word after this, without a comma, may be what is asked about."""
    words = before.split()
    if strictly and (len(words) < _ENOUGH_SAID or words[-1].lower() in _GIVES_THANKS):
        return True
    return before[-1:].isalnum() and (len(words) < 2 or words[-1].lower() in _OBJECT_OF)


def _without_end(text: str, strictly: bool) -> str:
    """Without final punctuation, unless it belongs to a formula (5!), to numbers that go on (1, 2, 3...), or stands alone; one question
    mark stays where nothing else asks."""
    body = text.rstrip(_ENDS).lstrip("\u00bf\u00a1")
    end = text[len(text.rstrip(_ENDS)) :]
    if strictly and any(mark in end for mark in _MARKS) and not _asks(text.rstrip(_ENDS)):
        return body.rstrip() + "?"
    if body.endswith(" "):
        return body.rstrip() if end.strip("?") == "" else text
    goes_on = "!" in end or "\u2026" in end or ".." in end
    formula = body[-1:].isdigit() or body[-1:] == ")" or (body[-1:].isalnum() and not body[-2:-1].isalnum())
    return text if goes_on and formula else body


def _asks(text: str) -> bool:
    """Whether it asks without a question mark: by how it begins, or by its last clause."""
    clause = _CLAUSE.split(text)[-1].strip()
    return any(_ASKED.match(each) or _DEMAND.match(each) for each in (text, clause)) or _ASKED_AT_END.search(text) is not None


def _unquoted(text: str) -> str:
    for opening, closing in _PAIRS:
        inner = text[1:-1]
        if text[:1] == opening and text[-1:] == closing and opening not in inner and closing not in inner:
            return inner.strip()
    return text


def _in_small_letters(text: str, strictly: bool) -> str:
    """In small letters but for quoted passages, and words to which capitals matter."""
    shouted, words = text == text.upper(), _QUOTED_OR_WORD.findall(text)
    if shouted and any(word.lower() in _CAPITALS_MATTER or (strictly and word.lower() in _UNITS) for word in words):
        return text
    if strictly and not (shouted and len(words) >= _SHOUTED_FROM):
        return _QUOTED_OR_WORD.sub(_beginning_in_small_letters, text)
    return _QUOTED_OR_WORD.sub(lambda match: _word_in_small_letters(match, shouted), text)


def _beginning_in_small_letters(match: re.Match[str]) -> str:
    """A word that begins a sentence with a capital, in small letters; any other word as it is, but for `I` and the hours of a clock."""
    word, before = match[0], match.string[: match.start()][-8:].rstrip()
    small = word.lower()
    if small == "i" or (small in _CLOCK and before[-1:].isdigit()) or (small.lstrip("0123456789") in _CLOCK and word[0].isdigit()):
        return small
    begins = not before or (before[-1] in ".!?" and not _ABBREVIATED.search(before))
    plain = word[1:] == small[1:] and (len(word) > 1 or small == "a")
    return small if begins and plain and not (len(word) > 1 and small in _UNITS) else word


def _word_in_small_letters(match: re.Match[str], shouted: bool) -> str:
    word, before = match[0], match.string[: match.start()][-3:].rstrip()
    small = word.lower()
    if word[0] == '"' or (not shouted and word.isupper() and small in _CAPITALS_MATTER):
        return word
    begins = not before or before[-1] in ".!?"
    if len(word) == 1:
        return small if small == "i" or (small == "a" and begins) or (shouted and not before[-1:].isdigit()) else word
    unit = small.lstrip("0123456789")
    if (unit != small or before[-1:].isdigit()) and (len(unit) == 1 or unit in _UNITS):
        return word
    mixed = not (word.islower() or word.isupper() or word.istitle())
    if mixed and (small == "latex" or any(map(str.isdigit, word))):
        return word
    return word if not begins and word.istitle() and small in _CAPITAL_MATTERS else small
