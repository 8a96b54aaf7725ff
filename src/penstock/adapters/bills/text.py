"""Bytes of a file -> lines -> the fields of each row: any encoding, gz or not, any delimiter, broken quotes, a cut end.

Memory is bounded: what is held is one block of bytes and the lines of one row.
"""

import csv
import io
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MAX_CELL = 1 << 20
"""characters; a cell that is longer is an open quote"""
LONGEST_LINE = 1 << 28
"""characters; a longer line comes in pieces"""
NOT_UTF8 = "bytes that are not UTF-8, read as Windows-1252"

_STRAY = re.compile("[\udc80-\udcff]+")
_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Gunzipped(io.RawIOBase):
    """The content of a gz file up to where it breaks; `broken` says how it broke, empty for a whole file."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=31)
        self._rest = b""
        self.broken = ""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        while not self.broken:
            data = self._rest or self._file.read(BLOCK)
            if not data:
                if not self._inflate.eof:
                    self.broken = "the gz file is cut off"
                return 0
            if self._inflate.eof:
                data = data.lstrip(b"\0")  # padding behind a member
                if not data:
                    self._rest = b""
                    continue
                self._inflate = zlib.decompressobj(wbits=31)
            try:
                content = self._inflate.decompress(data, len(view))
            except zlib.error as problem:
                self.broken = f"the gz file is damaged ({problem})"
                return 0
            self._rest = self._inflate.unconsumed_tail or self._inflate.unused_data
            if content:
                view[: len(content)] = content
                return len(content)
        return 0


class Lines:
    """The lines of a text file with their ends, decoded. `broken` is known at the end; `on_stray` hears of lines that are not UTF-8."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        self.size = path.stat().st_size
        self._gunzipped: Gunzipped | None = None
        raw: io.BufferedReader = self.file
        if self.file.peek(2)[:2] == GZIP_MAGIC:
            self._gunzipped = Gunzipped(self.file)
            raw = io.BufferedReader(self._gunzipped, BLOCK)
        start = raw.peek(4)[:400]
        self.encoding, mark = _encoding(start)
        raw.read(len(mark))
        self.marked = bool(mark)
        errors = "surrogateescape" if self.encoding == "utf-8" else "replace"
        self.text = io.TextIOWrapper(raw, self.encoding, errors=errors, newline="")
        self.on_stray: Callable[[int], None] = lambda line: None

    @property
    def gzipped(self) -> bool:
        return self._gunzipped is not None

    @property
    def broken(self) -> str:
        return self._gunzipped.broken if self._gunzipped is not None else ""

    def __iter__(self) -> Iterator[str]:
        for number, line in enumerate(iter(partial(self.text.readline, LONGEST_LINE), ""), 1):
            if line.isascii() or not _STRAY.search(line):
                yield line
            else:
                self.on_stray(number)
                yield mended(line)

    def close(self) -> None:
        self.text.close()
        self.file.close()


def mended(text: str) -> str:
    """Stray bytes as the letters that Windows-1252 has for them."""
    return _STRAY.sub(lambda match: match[0].encode("utf-8", "surrogateescape").decode("cp1252", "replace"), text)


def _encoding(start: bytes) -> tuple[str, bytes]:
    for mark, name in _MARKS:
        if start.startswith(mark):
            return name, mark
    if len(start) >= 4 and start[1::2].count(0) * 4 > len(start):
        return "utf-16-le", b""
    if len(start) >= 4 and start[::2].count(0) * 4 > len(start):
        return "utf-16-be", b""
    return "utf-8", b""


class Records:
    """Rows of delimited text as (line of the file, fields). What cannot be cut into fields is told to `refuse` with its line.

    A quote that is never closed costs the line it is in, not what follows: rows over several lines whose width is wrong are
    taken apart again.
    """

    def __init__(self, lines: Iterator[str], delimiter: str, refuse: Callable[[int, str], None]) -> None:
        self._source = lines
        self._again: deque[str] = deque()
        self._held: list[str] = []
        self._number = 0
        self._delimiter, self._refuse = delimiter, refuse
        self.width: int | None = None
        """fields of a row, once the header is known"""
        self.last_line_whole = True

    def _feed(self) -> Iterator[str]:
        while True:
            line = self._again.popleft() if self._again else next(self._source, None)
            if line is None:
                return
            self._number += 1
            self._held.append(line)
            yield line

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(MAX_CELL)
        reader, held = csv.reader(self._feed(), delimiter=self._delimiter), self._held
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as problem:
                self._take_apart("a quote that is never closed" if "limit" in str(problem) else f"broken quoting ({problem})")
                reader = csv.reader(self._feed(), delimiter=self._delimiter)
                continue
            self.last_line_whole = held[-1][-1:] in "\r\n"
            if (len(held) > 1 or not self.last_line_whole or (fields and fields[-1][-1:] == "\n")) and self._open(fields):
                self._take_apart("a quote that is never closed")
                reader = csv.reader(self._feed(), delimiter=self._delimiter)
                continue
            number = self._number - len(held) + 1
            held.clear()
            if fields:
                yield number, fields

    def _open(self, fields: list[str]) -> bool:
        """Whether what looks like one row has swallowed others: it has an odd number of quotes, or over several lines a wrong width."""
        wrong = self.width is not None and len(fields) != self.width and len(self._held) > 1
        return wrong or sum(line.count('"') for line in self._held) % 2 == 1

    def _take_apart(self, reason: str) -> None:
        first = self._number - len(self._held) + 1
        self._refuse(first, reason)
        self._again.extendleft(reversed(self._held[1:]))
        self._number = first
        self._held.clear()


def delimiter_of(lines: list[str], score: Callable[[list[str]], int]) -> tuple[str, int]:
    """The delimiter and the line (from 0) of the header among the first lines: where most names are known."""
    best, found = 0, (",", 0)
    for delimiter in DELIMITERS:
        for number, line in enumerate(lines):
            fields = next(csv.reader([line], delimiter=delimiter), [])
            known = score(fields)
            if known > best:
                best, found = known, (delimiter, number)
    return found
