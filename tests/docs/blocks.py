"""The code blocks of the documentation, with the page and the line that each stands on."""

import re
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
COMMENT = re.compile(r"^\s*<!-- (?P<word>no-test|output varies): (?P<reason>.+?) -->\s*$")


@dataclass(frozen=True)
class Block:
    """One fenced block. `mark` is the comment on the line above it: `no-test` or `output varies`, with a reason."""

    page: Path
    line: int
    language: str
    text: str
    mark: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


@dataclass
class Script:
    """A console block: what is typed after `$ ` (or `> ` where it goes on), and what should be seen after each."""

    commands: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)


def pages() -> list[Path]:
    """README, CONTRIBUTING and everything under docs/."""
    named = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")]
    return [page for page in [*named, *sorted((REPOSITORY / "docs").rglob("*.md"))] if page.exists()]


def blocks(page: Path, text: str | None = None) -> list[Block]:
    """The blocks of a page, in order. Raises ValueError for one that is never closed."""
    found: list[Block] = []
    mark: str | None = None
    lines = iter(enumerate((page.read_text("utf-8") if text is None else text).splitlines(), 1))
    for number, line in lines:
        if opening := FENCE.match(line):
            body: list[str] = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner.removeprefix(opening["indent"]))
            else:
                raise ValueError(f"{page}:{number}: this block is never closed")
            found.append(Block(page, number, opening["language"], "\n".join(body) + "\n", mark))
            mark = None
        elif comment := COMMENT.match(line):
            mark = comment["word"]
        elif line.strip():
            mark = None
    return found


def script(block: Block) -> Script:
    """Commands and expected output of a console block."""
    parsed = Script()
    for line in block.text.splitlines():
        if line.startswith("$ ") or (line.startswith("> ") and parsed.commands):
            parsed.commands.append(line[2:])
        elif line.strip() and not (line.startswith("#") and not parsed.commands):
            parsed.expected.append(line)
    return parsed


def missing(expected: list[str], output: str) -> list[str]:
    """Expected lines that the output does not have, in this order; `...` stands for anything."""
    seen = iter(line.rstrip() for line in output.splitlines())
    absent = []
    for line in expected:
        if line.strip() == "...":
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in line.rstrip().split("...")))
        if not any(pattern.fullmatch(candidate) for candidate in seen):
            absent.append(line)
    return absent
