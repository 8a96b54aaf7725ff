"""Links of the documentation lead somewhere, and its pictures are there, small, and used."""

import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from docs.screenshots import MOST_BYTES, MOST_OF_ALL, SHOTS, with_palette
from tests.docs.blocks import REPOSITORY, pages

IMAGES = REPOSITORY / "docs" / "images"
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
HEADING = re.compile(r"^#+ (.+?)\s*$", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """Links to files and headings of this repository."""
    found = [plain or quoted for plain, quoted in LINK.findall(prose(page))]
    return [link for link in found if not re.match(r"\w+:", link)]


def anchors(page: Path) -> set[str]:
    """Where the headings of a page are found, as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(page))}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_every_page_is_linked() -> None:
    linked = {(page.parent / link.partition("#")[0]).resolve() for page in pages() for link in links(page)}
    folders = {target for target in linked if target.is_dir()}
    assert not [page for page in pages() if page not in linked and page.parent not in folders and page.name not in ("README.md",)]


def test_pictures_are_small_and_used() -> None:
    used = {(page.parent / link).resolve() for page in pages() for link in links(page) if link.endswith(".png")}
    pictures = {picture: picture.stat().st_size for picture in IMAGES.glob("*.png")}
    assert {f"{shot.name}.png" for shot in SHOTS} == {picture.name for picture in pictures} == {picture.name for picture in used}
    assert max(pictures.values()) <= MOST_BYTES and sum(pictures.values()) <= MOST_OF_ALL


def test_a_picture_keeps_its_colours() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]], [[9, 9, 9], [255, 0, 0]]], np.uint8)
    png = with_palette(pixels)
    chunks, at = {}, 8
    while at < len(png):
        [length] = struct.unpack(">I", png[at : at + 4])
        chunks[png[at + 4 : at + 8]] = png[at + 8 : at + 8 + length]
        at += 12 + length
    assert struct.unpack(">II", chunks[b"IHDR"][:8]) == (2, 3)
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(3, 3)
    assert (palette[rows[:, 1:]] == pixels).all()


def test_without_a_browser_it_says_what_to_do() -> None:
    script = REPOSITORY / "docs" / "screenshots.py"
    done = subprocess.run([sys.executable, script, "--browser", "no-such-browser"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no-such-browser" in done.stderr and "--browser PATH" in done.stderr
