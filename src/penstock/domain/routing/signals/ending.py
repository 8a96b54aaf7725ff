"""Signs of how an answer ended, and of answers that decline."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from penstock.domain.dialects.canonical import Stop
from penstock.domain.ledger.routed import Sign
from penstock.domain.routing.signals.shown import Shown

_ENDS: Final[Mapping[Stop, str]] = {
    "length": "it was cut off at the longest output",
    "context": "the context window was full",
    "filter": "the provider filtered it",
    "refusal": "it declines",
    "pause": "it was paused",
}
_LEAD = 240
"""characters at the beginning in which an answer declines, if it does"""
_SHORT = 300
"""characters; a longer answer that begins with not knowing may say more"""
_VERBS = (
    "help|assist|provide|answer|comply|fulfil|do that|do this|discuss|share|generate|create|write|give|offer|support|engage|continue"
    "|complete|process|access|browse|open|view|see|respond|tell you|recommend|advise"
)
_DECLINING = (
    r"(?:i'?m|i am) (?:really |very |so |truly )?sorry[,.!]? (?:but |however,? )?(?:i )?(?:can(?:'t|not| not)|(?:'m|am) (?:not able|unable)"
    r"|won't|will not|do not|don't|as an ai|that(?:'s| is) (?:not )?something)",
    r"(?:sorry|i apologi[sz]e|my apologies|unfortunately)[,.!]?\s+(?:but |however,? )?i(?: can(?:'t|not| not)|'m (?:not able|unable)"
    r"| am (?:not able|unable)| won't| will not| do not| don't)",
    rf"i (?:can(?:'t|not| not)|won't|will not|must decline to) (?:really |currently |directly )?(?:{_VERBS})\b",
    rf"i(?:'m| am) (?:unable|not able|not allowed|not permitted) to (?:{_VERBS})\b",
    r"as an ai(?: language)?(?: model| assistant)?,? i (?:can|do|am|don)",
    r"i must (?:decline|refuse)",
    r"(?:es )?tut mir (?:sehr )?leid,? (?:aber )?(?:ich kann|das kann ich|dabei kann ich)",
    r"ich kann (?:ihnen |dir )?(?:dabei|damit|hierbei) (?:leider )?nicht",
    r"leider kann ich (?:ihnen |dir )?(?:dabei|damit|das|diese)",
    r"(?:je suis )?(?:vraiment )?désolée?,? (?:mais )?je ne (?:peux|suis)",
    r"je ne peux pas (?:vous |t')?(?:aider|répondre|fournir)",
    r"lo siento,? (?:pero )?no (?:puedo|me es posible)",
    r"no puedo (?:ayudar|proporcionar|responder)",
    r"mi dispiace,? (?:ma )?non (?:posso|sono in grado)",
    r"non posso (?:aiutar|fornire|rispondere)",
    r"(?:desculpe|sinto muito|lamento),? (?:mas )?não posso",
    r"não posso (?:ajudar|fornecer|responder)",
    r"(?:het )?spijt me,? (?:maar )?(?:ik kan|dat kan ik)",
    r"przepraszam,? (?:ale )?nie mogę",
    r"tyvärr kan jag inte",
    r"(?:к сожалению|извините|простите),? (?:но )?я не могу",
    r"申し訳(?:ありません|ございません)",
    r"(?:对不起|很?抱歉)[\uff0c,]?\s?我(?:无法|不能)",
    r"죄송(?:하지만|합니다)",
)
_UNKNOWING = (
    r"i (?:do not|don't) (?:know|have (?:enough|sufficient|access to|any information))",
    r"i(?:'m| am) not (?:sure|certain)\b",
    r"(?:it )?cannot be determined",
    r"there (?:isn't|is not) enough information",
    r"ich weiß (?:es |das )?nicht",
    r"je ne sais pas",
    r"no (?:lo )?sé\b",
    r"non lo so",
    r"não sei\b",
)
_DECLINES, _KNOWS_NOT = (re.compile("|".join(phrases), re.IGNORECASE) for phrases in (_DECLINING, _UNKNOWING))
_OPENING = re.compile(r"[\s*_#>\"'`“]*")


def ending_signs(shown: Shown) -> Iterator[Sign]:
    """What speaks against an answer without a look at what it says: one that is broken, cut off, filtered, empty, or declines."""
    if shown.answer is None:
        yield Sign("finish", fails=shown.broken, said=shown.unread)
        return
    if shown.answer.stop in _ENDS:
        yield Sign("finish", fails=True, said=_ENDS[shown.answer.stop])
    elif not shown.calls and not shown.text.strip() and shown.declined is None:
        yield Sign("finish", fails=True, said="it is empty")
    else:
        yield Sign("finish")
    declined = declines(shown.text) if shown.declined is None else "it declines"
    if declined is not None:
        yield Sign("refusal", fails=True, said=declined)


def declines(text: str) -> str | None:
    """How a text declines at its beginning, in words; None where it does not. Knows a dozen languages."""
    start = _OPENING.match(text)
    lead = text[start.end() if start is not None else 0 :][:_LEAD].replace("\u2019", "'")
    if _DECLINES.match(lead):
        return "it declines"
    if len(text) <= _SHORT and _KNOWS_NOT.match(lead):
        return "it says that it does not know"
    return None
