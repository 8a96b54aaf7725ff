"""Takes the pictures of docs/images from a demo that runs: the console's pages as they are in this build.

python docs/screenshots.py [--browser PATH] [--seed N | --address URL]
"""

import argparse
import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
IMAGES = Path(__file__).parent / "images"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--font-render-hinting=none")
WIDE, PHONE = 1440, 390
LIVE_MS = 6000
"""so long the demo's live traffic plays before the first picture"""
COLOURS = 256
MOST_BYTES, MOST_OF_ALL = 250_000, 1_500_000
PIXELS = """async png => {
  const image = await createImageBitmap(await (await fetch('data:image/png;base64,' + png)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const bytes = context.getImageData(0, 0, image.width, image.height).data;
  let text = '';
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return [image.width, image.height, btoa(text)];
}"""


class Shot(NamedTuple):
    """One picture: where one goes from Today, what is clicked there, and the heading (CSS) above which it ends (None: the whole page)."""

    name: str
    path: str
    clicks: tuple[str, ...] = ()
    until: str | None = None
    scheme: Literal["light", "dark"] = "light"
    width: int = WIDE
    scale: int = 1
    """device pixels for each pixel of the page"""
    height: int = 0
    """pixels at most; 0: as high as the page"""


RUNAWAY = "main a:has-text('engineering / code')"
"""where the walk of `docs/tutorials/first-hour.md` begins on Today"""
LOOP = (RUNAWAY, "main table tbody tr:nth-child(40) a", "main a:has-text('The requests behind')")
"""... and on to the calls of one of its hours"""
SHOTS = (
    Shot("today", "/", until="#day-head", scale=2),
    Shot("today-dark", "/", until="#day-head", scheme="dark", scale=2),
    Shot("today-phone", "/", width=PHONE, height=1600),
    Shot("budgets", "/budgets", height=1350),
    Shot("costs", "/", (RUNAWAY, "main a:text-is('user')")),
    Shot("requests", "/", LOOP, height=1100),
    Shot("request", "/", (*LOOP, "main table tbody tr:nth-child(20) a")),
    Shot("savings", "/savings"),
    Shot("fleet", "/fleet"),
)


@contextmanager
def demo(seed: int) -> Iterator[str]:
    """The address of a demo that runs until the block is left. Raises RuntimeError when it does not start."""
    command = [sys.executable, "-m", "penstock", "demo", "--seconds", "600", "--seed", str(seed)]
    environ = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = ""
        try:
            while (found := re.search(r"playing .* against (http://\S+)", said)) is None:
                if not (line := process.stderr.readline()):
                    raise RuntimeError(f"the demo ended before it played: {said}")
                said += line
            yield found[1]
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()


def take(browser: "Browser", address: str, shot: Shot) -> bytes:
    """The picture, as small a PNG as its colours allow."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": 900},
        device_scale_factor=shot.scale,
        color_scheme=shot.scheme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(15_000)
    answer = page.goto(address + shot.path)
    if answer is None or answer.status != 200:
        raise RuntimeError(f"{shot.path} answered {answer and answer.status}: {page.inner_text('body')[:300]}")
    for click in shot.clicks:
        elsewhere = re.compile(f"^(?!{re.escape(page.url)}$)")
        page.click(click)
        page.wait_for_url(elsewhere)
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)  # charts are drawn after the page has come
    height = int(page.evaluate("document.documentElement.scrollHeight"))
    if shot.until is not None:
        box = page.locator(shot.until).bounding_box()
        assert box is not None
        height = min(height, int(box["y"]) - 24)
    height = min(height, shot.height or height)
    png = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": shot.width, "height": height})
    blank = context.new_page()
    width, height, pixels = blank.evaluate(PIXELS, base64.b64encode(png).decode())
    context.close()
    return with_palette(np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[:, :, :3])


def with_palette(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    """A PNG of at most 256 colours: those that are used most, and for every other the nearest of them."""
    height, width, _ = pixels.shape
    packed = pixels.astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    colours, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    kept = np.sort(np.argsort(-counts, kind="stable")[:COLOURS])
    parts = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.int32)
    nearest = np.array([np.argmin(((parts[kept] - part) ** 2).sum(axis=1)) for part in parts], np.uint8)
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = nearest[places].reshape(height, width)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 3, 0, 0, 0])
    palette = parts[kept].astype(np.uint8).tobytes()
    chunks = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big") for kind, data in chunks
    )


def browser_path(asked: str | None) -> str | None:
    """The browser to use: the one that was asked for, else the first that is found."""
    return shutil.which(asked) if asked else next(filter(None, map(shutil.which, NAMES)), None)


def main() -> int:
    parser = argparse.ArgumentParser(description="Take the pictures of docs/images from a demo that runs.")
    parser.add_argument("--browser", metavar="PATH", help=f"Chromium; without it the first of {', '.join(NAMES)} that is found")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--address", metavar="URL", help="of a demo that runs already; without it one is started")
    asked = parser.parse_args()
    path = browser_path(asked.browser)
    if path is None:
        sys.stderr.write(f"error: there is no {asked.browser or 'Chromium'} here\nhint: install Chromium, or name it: --browser PATH\n")
        return 1
    from playwright.sync_api import sync_playwright

    sizes = {}
    with nullcontext(asked.address) if asked.address else demo(asked.seed) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=[*FLAGS])
        browser.new_page().wait_for_timeout(LIVE_MS)
        IMAGES.mkdir(exist_ok=True)
        for shot in SHOTS:
            picture = take(browser, address, shot)
            (IMAGES / f"{shot.name}.png").write_bytes(picture)
            sizes[shot.name] = len(picture)
            sys.stderr.write(f"{shot.name}.png: {len(picture) // 1000} kB\n")
        browser.close()
    large = [name for name, size in sizes.items() if size > MOST_BYTES]
    if large or sum(sizes.values()) > MOST_OF_ALL:
        sys.stderr.write(f"error: too large: {', '.join(large) or 'all together'}\nhint: end the picture earlier (`until`, `height`)\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
