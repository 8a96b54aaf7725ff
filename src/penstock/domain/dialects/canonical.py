"""What the dialects have in common: one form of a call, an answer and a stream, between three readers and three writers.

A dialect is named by its endpoint. Readers refuse what this form cannot hold, writers what their dialect cannot say: `Untranslatable`.
Nothing here knows how a dialect spells anything.
"""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

Dialect = Literal["chat.completions", "responses", "messages"]
Role = Literal["system", "user", "assistant"]
Stop = Literal["end", "length", "context", "tools", "stop_sequence", "filter", "refusal", "pause"]
"""Why an answer ended. `context`: the window was full; `pause`: the provider wants to be called again to go on."""

NO_ARGUMENTS = "{}"
ANOTHER_UPSTREAM = "Leave it out, or ask for a model whose upstream speaks your client's dialect"


class Untranslatable(ValueError):
    """What one dialect says and the other cannot, or a body that is no body of its dialect; `field` is the place, as a path."""

    def __init__(self, field: str, reason: str, hint: str = ANOTHER_UPSTREAM) -> None:
        super().__init__(reason)
        self.field = field
        self.hint = hint


class Text(msgspec.Struct, frozen=True):
    """Text, of whoever's turn it is."""

    text: str = ""


class Image(msgspec.Struct, frozen=True):
    """An image by web address or `data:` URL; `detail` is None where the client left it to the provider (`auto`)."""

    url: str
    detail: str | None = None


class Document(msgspec.Struct, frozen=True):
    """A file by web address or `data:` URL."""

    url: str
    name: str | None = None


class ToolUse(msgspec.Struct, frozen=True):
    """A call of a function that the client runs. `arguments` is JSON as the model wrote it: it may be broken, never empty."""

    id: str
    name: str
    arguments: str = NO_ARGUMENTS


class ToolResult(msgspec.Struct, frozen=True):
    """What the function said; `content` holds texts, images and documents."""

    id: str
    content: tuple["Text | Image | Document", ...] = ()
    is_error: bool = False


class Thinking(msgspec.Struct, frozen=True):
    """A model's reasoning. What proves its origin is opaque, and worth something to the provider that made it only:

    `signature` and `redacted` are Anthropic's, `encrypted` with `id` is OpenAI's.
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    encrypted: str | None = None
    id: str | None = None


class Refusal(msgspec.Struct, frozen=True):
    """The words with which a model declined."""

    text: str = ""


Block = Text | Image | Document | ToolUse | ToolResult | Thinking | Refusal


class Turn(msgspec.Struct, frozen=True):
    """What one side said. Tool results are said by the user; `system` stands here only after the conversation has begun."""

    role: Role
    blocks: tuple[Block, ...]


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call; `schema` is JSON schema as the client wrote it."""

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    """Whether tools may, must or must not be called. `name`: this one must; `parallel`: several at once, None where not said."""

    mode: Literal["auto", "none", "required", "named"] | None = None
    name: str | None = None
    parallel: bool | None = None


class Format(msgspec.Struct, frozen=True):
    """What the answer's text must be: any JSON object, or JSON of a schema."""

    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class Reasoning(msgspec.Struct, frozen=True):
    """How long to think: as a word, or as a budget in tokens; `shown`: a summary of it is wanted, None where not said."""

    effort: str | None = None
    budget: int | None = None
    shown: bool | None = None


class Sampling(msgspec.Struct, frozen=True):
    """How tokens are drawn; None where the client left it to the provider."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None


class Call(msgspec.Struct, frozen=True):
    """What a client asks of a model. `max_output` in tokens. `continues`: the last turn is the assistant's, to be gone on with."""

    system: tuple[Text, ...] = ()
    turns: tuple[Turn, ...] = ()
    tools: tuple[Tool, ...] = ()
    choice: ToolChoice = ToolChoice()
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    max_output: int | None = None
    format: Format | None = None
    verbosity: str | None = None
    reasoning: Reasoning = Reasoning()
    user: str | None = None
    service_tier: str | None = None
    stream: bool = False
    continues: bool = False
    shared: dict[str, Any] = {}
    """fields that OpenAI's two dialects spell alike, and that touch storage and caching only"""


class Answer(msgspec.Struct, frozen=True):
    """What a model answered. `usage` is the object as the provider sent it; `created` in Unix seconds, None where not said."""

    id: str
    model: str
    blocks: tuple[Block, ...]
    stop: Stop
    stop_sequence: str | None = None
    usage: dict[str, Any] | None = None
    created: int | None = None
    service_tier: str | None = None


class Started(msgspec.Struct, frozen=True):
    """A stream begins; what an `Answer` says of itself before its first word."""

    id: str
    model: str
    created: int | None = None
    usage: dict[str, Any] | None = None
    service_tier: str | None = None


class Opened(msgspec.Struct, frozen=True):
    """A block begins, empty but for what its kind knows at once (a tool's id and name). One block is open at a time."""

    index: int
    block: Text | ToolUse | Thinking | Refusal


class Added(msgspec.Struct, frozen=True):
    """More of the open block's text: words, thoughts, a tool's arguments, a refusal's words."""

    index: int
    text: str


class Closed(msgspec.Struct, frozen=True):
    """The open block, whole."""

    index: int
    block: Text | ToolUse | Thinking | Refusal


class Finished(msgspec.Struct, frozen=True):
    """The regular end of a stream."""

    stop: Stop
    stop_sequence: str | None = None
    usage: dict[str, Any] | None = None


class Failed(msgspec.Struct, frozen=True):
    """An error that came within a stream, after which nothing counts."""

    message: str
    type: str | None = None
    code: str | int | None = None


Event = Started | Opened | Added | Closed | Finished | Failed


def turns_of(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Turns in their one normal form: neighbours of one role are one turn, and a turn without blocks is none."""
    whole: list[tuple[Role, list[Block]]] = []
    for turn in turns:
        if whole and whole[-1][0] == turn.role:
            whole[-1][1].extend(turn.blocks)
        elif turn.blocks:
            whole.append((turn.role, list(turn.blocks)))
    return tuple(Turn(role, tuple(blocks)) for role, blocks in whole)
