"""The documentation is true: its commands run, its configs load, its code compiles.

Each `console` block is typed into bash, in a directory of the page's own where the blocks of the page follow one another. It must
exit with 0 and show the lines under its commands (`...` stands for anything). A comment on the line above a block says otherwise:
`<!-- output varies: reason -->` or `<!-- no-test: reason -->`. A command that ends in `&` runs until the page is done.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from penstock.config.load import parse
from tests.docs.blocks import Block, blocks, missing, pages, script

PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page) if block.mark != "no-test"]
LIMIT_S = 60


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def by_page() -> list[list[Block]]:
    consoles = of("console")
    return [[block for block in consoles if block.page == page] for page in dict.fromkeys(block.page for block in consoles)]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    path = [str(Path(sys.executable).parent), kept.get("PATH", "")]
    return kept | {"PATH": os.pathsep.join(path), "NO_COLOR": "1", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


def run(block: Block, directory: Path) -> tuple[int, str, int]:
    """Exit code, output (both streams) and process group of a console block."""
    log = directory.parent / f"{block.line}.log"
    with log.open("wb") as output:
        shell = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(script(block).commands)],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = shell.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        code = shell.wait()
    return code, log.read_text("utf-8", errors="replace"), shell.pid


def end(group: int) -> None:
    """Ends what still runs of a block, and waits for it: the next page may listen at the same address."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        for _ in range(200):
            time.sleep(0.05)
            os.killpg(group, 0)


@pytest.mark.parametrize("page", by_page(), ids=lambda page: page[0].page.name)
def test_console_blocks_run(page: list[Block], tmp_path: Path) -> None:
    directory = tmp_path / "here"
    directory.mkdir()
    groups = []
    try:
        for block in page:
            code, output, group = run(block, directory)
            groups.append(group)
            assert code == 0, f"{block.place} ended with {code}:\n{output}"
            if block.mark != "output varies":
                absent = missing(script(block).expected, output)
                assert not absent, f"{block.place} does not show {absent}, but:\n{output}"
    finally:
        for group in groups:
            end(group)


@pytest.mark.parametrize("block", of("toml"), ids=lambda block: block.place)
def test_toml_blocks_load(block: Block) -> None:
    """A block with `version = 1` is a whole file; any other is a part of one."""
    whole = any(line.replace(" ", "").startswith("version=1") for line in block.text.splitlines())
    parse(block.text if whole else f"version = 1\n{block.text}", {}, block.place)


@pytest.mark.parametrize("block", of("json"), ids=lambda block: block.place)
def test_json_blocks_parse(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", of("python"), ids=lambda block: block.place)
def test_python_blocks_compile(block: Block) -> None:
    compile(block.text, block.place, "exec")


def test_reading_of_a_page(tmp_path: Path) -> None:
    text = "<!-- no-test: needs a key -->\n```console\n$ a\n```\n```console\n$ echo '1\n> 2'\n1\n...\nend ... of 3\n```\n"
    skipped, tested = blocks(tmp_path / "x.md", text)
    assert (skipped.mark, tested.mark, tested.line) == ("no-test", None, 5)
    assert script(tested).commands == ["echo '1", "2'"]
    assert missing(script(tested).expected, "0\n1\n2\nend 2 of 3\n") == []
    assert missing(script(tested).expected, "end 2 of 3\n1\n") == ["end ... of 3"]
    with pytest.raises(ValueError, match="never closed"):
        blocks(tmp_path / "x.md", "```toml\nversion = 1\n")


def test_a_wrong_block_is_noticed(tmp_path: Path) -> None:
    directory = tmp_path / "here"
    directory.mkdir()
    code, _, _ = run(Block(tmp_path / "x.md", 1, "console", "$ false\n$ echo never\n"), directory)
    assert code == 1
