"""Puts the blocks of a stream in sequence: one is open at a time, as Messages wants it, even where an upstream mixes them.

A tool call ends when its arguments are whole or its stream says so; what comes for a later one until then is held back.
"""

from typing import Any

import msgspec
import orjson

from penstock.domain.dialects.canonical import NO_ARGUMENTS, Added, Closed, Event, Opened, Refusal, Text, Thinking, ToolUse, Untranslatable

Streamed = Text | ToolUse | Thinking | Refusal


class _Growing:
    """A block that is being streamed; `key` is the reader's name for it."""

    __slots__ = ("block", "ended", "key", "pieces")

    def __init__(self, key: object, block: Streamed) -> None:
        self.key = key
        self.block = block
        self.pieces: list[str] = []
        self.ended = False

    def whole(self) -> bool:
        """Whether nothing more can come once another block begins."""
        if self.ended or not isinstance(self.block, ToolUse):
            return True
        if not self.pieces or not self.pieces[-1].endswith("}"):
            return False
        try:
            orjson.loads("".join(self.pieces))
        except orjson.JSONDecodeError:
            return False
        return True

    def finished(self) -> Streamed:
        text = "".join(self.pieces)
        if isinstance(self.block, ToolUse):
            return ToolUse(self.block.id, self.block.name, text)
        return msgspec.structs.replace(self.block, text=text)


class Sequencer:
    """The blocks of one stream. Its methods return the events that follow."""

    __slots__ = ("_index", "_line", "tools")

    def __init__(self) -> None:
        self._line: list[_Growing] = []
        self._index = 0
        self.tools = 0
        """tool calls so far"""

    def knows(self, key: object) -> bool:
        """Whether the block is open, or waits to be."""
        return any(block.key == key for block in self._line)

    def open(self, key: object, block: Streamed) -> list[Event]:
        """A block begins, without text. An open one that can be whole is closed for it."""
        self.tools += isinstance(block, ToolUse)
        self._line.append(_Growing(key, block))
        return [Opened(self._index, block)] if len(self._line) == 1 else self._advance()

    def add(self, key: object, text: str) -> list[Event]:
        """More text of a block. Raises `Untranslatable` for one that has ended."""
        if not text:
            return []
        for place, block in enumerate(self._line):
            if block.key == key:
                block.pieces.append(text)
                return [Added(self._index, text), *(self._advance() if len(self._line) > 1 else ())] if place == 0 else []
        if not text.strip():
            return []
        raise Untranslatable("stream", "the upstream adds to a block of its stream that has ended", "Ask without streaming")

    def complete(self, key: object, text: str) -> list[Event]:
        """The whole text of a block, told once more: adds what was not streamed."""
        known = next((block for block in self._line if block.key == key), None)
        streamed = "" if known is None else "".join(known.pieces)
        return self.add(key, text[len(streamed) :]) if known is not None and text.startswith(streamed) else []

    def change(self, key: object, **facts: Any) -> None:
        """Facts of a block that come late, such as a signature."""
        for block in self._line:
            if block.key == key:
                block.block = msgspec.structs.replace(block.block, **facts)

    def close(self, key: object) -> list[Event]:
        """The stream says that the block is whole."""
        for block in self._line:
            if block.key == key:
                block.ended = True
        return self._advance(last=True)

    def close_all(self) -> list[Event]:
        """The stream is over."""
        for block in self._line:
            block.ended = True
        return self._advance(last=True)

    def _advance(self, *, last: bool = False) -> list[Event]:
        """Closes the first block while it is whole, and opens the next with what has come for it."""
        events: list[Event] = []
        while self._line and (len(self._line) > 1 or (last and self._line[0].ended)) and self._line[0].whole():
            if isinstance(self._line[0].block, ToolUse) and not self._line[0].pieces:
                self._line[0].pieces.append(NO_ARGUMENTS)
                events.append(Added(self._index, NO_ARGUMENTS))
            events.append(Closed(self._index, self._line.pop(0).finished()))
            self._index += 1
            if self._line:
                first = self._line[0]
                events.append(Opened(self._index, first.block))
                if first.pieces:
                    events.append(Added(self._index, "".join(first.pieces)))
        return events
