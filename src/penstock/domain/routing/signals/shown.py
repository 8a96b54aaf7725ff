"""An answer taken apart for judging: how it ended, its text, its tool calls, what it declines with."""

import msgspec

from penstock.domain.dialects.canonical import Answer, Refusal, Stop, Text, ToolUse, Untranslatable
from penstock.domain.routing.similarity.answers import READERS, whole_answer

_COMPLETION_STOPS: dict[str, Stop] = {"length": "length", "content_filter": "filter"}


class Shown(msgspec.Struct, frozen=True):
    """What there is to judge. `answer` None: `unread` says why."""

    whole: object
    """the answer's JSON"""
    answer: Answer | None
    unread: str = ""
    broken: bool = False
    """it is no answer at all: cut off, an error, no JSON; not only one that is not understood to the last part"""

    @property
    def text(self) -> str:
        """All words of the answer."""
        return "" if self.answer is None else "".join(block.text for block in self.answer.blocks if isinstance(block, Text))

    @property
    def calls(self) -> tuple[ToolUse, ...]:
        return () if self.answer is None else tuple(block for block in self.answer.blocks if isinstance(block, ToolUse))

    @property
    def declined(self) -> str | None:
        """The words of a refusal that its dialect marks as one."""
        found = [] if self.answer is None else [block.text for block in self.answer.blocks if isinstance(block, Refusal)]
        return "".join(found) if found else None


def read_shown(endpoint: str, streamed: bool, body: bytes) -> Shown:
    """Reads an answer of any dialect, whole or streamed. Raises nothing."""
    whole = whole_answer(endpoint, streamed, body)
    if not isinstance(whole, dict):
        return Shown(whole, None, "the answer breaks off or is no JSON", broken=True)
    if whole.get("error"):
        return Shown(whole, None, "the answer is an error", broken=True)
    if endpoint == "completions":
        return _completion(whole)
    read = READERS.get(endpoint)
    if read is None:
        return Shown(whole, None, "answers of this endpoint are not judged")
    try:
        return Shown(whole, read(whole, ""))
    except Untranslatable as error:
        return Shown(whole, None, f"the answer is not understood: {error}"[:200])


def _completion(whole: dict[str, object]) -> Shown:
    choices = whole.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        return Shown(whole, None, "the answer has several choices")
    text, reason = choices[0].get("text"), choices[0].get("finish_reason")
    if not isinstance(text, str) or not isinstance(reason, str):
        return Shown(whole, None, "the answer breaks off", broken=True)
    return Shown(whole, Answer("", "", (Text(text),), _COMPLETION_STOPS.get(reason, "end")))
