"""The frame of a figure: an `svg` element with its title and description, and lengths short enough for a page.

Figures with words in them are as wide as their place: what lies across is in percent, what stands upright in pixels, so that
type keeps its size on every screen. Figures without words are stretched.
"""

from markupsafe import Markup, escape

Length = float | str
"""user units, or text such as `12.5%`"""


def frame(width: float, height: float, body: str, title: str, desc: str = "", kind: str = "") -> Markup:
    """A figure without words, stretched to its place. `kind`: its class; `body` is SVG, not text."""
    return _svg(f'viewBox="0 0 {n(width)} {n(height)}" preserveAspectRatio="none"', body, title, desc, kind)


def wide(height: float, body: str, title: str, desc: str, kind: str) -> Markup:
    """A figure as wide as its place and `height` pixels high."""
    return _svg(f'width="100%" height="{n(height)}"', body, title, desc, kind)


def drawn(width: float, height: float, body: str, title: str, desc: str, kind: str) -> Markup:
    """A figure that keeps its proportions, words and all."""
    return _svg(f'viewBox="0 0 {n(width)} {n(height)}"', body, title, desc, kind)


def _svg(shape: str, body: str, title: str, desc: str, kind: str) -> Markup:
    said = f"<desc>{escape(desc)}</desc>" if desc else ""
    text = f'<svg class="fig {kind}" {shape} role="img"><title>{escape(title)}</title>{said}{body}</svg>'
    return Markup(text)  # noqa: S704  the body is made of numbers and escaped text


def n(value: Length) -> str:
    """A length with at most one decimal."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def across(share: float) -> str:
    """A share of the width."""
    return f"{share * 100:.2f}%"


def rect(x: Length, y: Length, width: Length, height: Length, kind: str, title: str = "") -> str:
    """A rectangle; `title` is what a pointer that rests on it is told."""
    said = f"<title>{escape(title)}</title>" if title else ""
    return f'<rect class="{kind}" x="{n(x)}" y="{n(y)}" width="{n(width)}" height="{n(height)}">{said}</rect>'


def line(x1: Length, y1: Length, x2: Length, y2: Length, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{n(x1)}" y1="{n(y1)}" x2="{n(x2)}" y2="{n(y2)}"/>'


def text(x: Length, y: Length, words: str, kind: str = "", anchor: str = "start", dx: float = 0) -> str:
    """Words at a place; they are escaped."""
    aside = f' dx="{n(dx)}"' if dx else ""
    return f'<text class="{kind}" x="{n(x)}" y="{n(y)}"{aside} text-anchor="{anchor}">{escape(words)}</text>'
