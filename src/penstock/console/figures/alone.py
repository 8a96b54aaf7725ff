"""A figure as a file of its own: the part of the style sheet that it needs is within, nothing is fetched from anywhere."""

from importlib.resources import files

from markupsafe import Markup, escape

WIDTH, MARGIN, HEADING = 960.0, 28.0, 62.0


def alone(figure: Markup, height: float, title: str, beneath: str) -> str:
    """An SVG document: a figure of the console with a heading above it. `height`: of the figure, in pixels."""
    whole = height + HEADING + 2 * MARGIN
    inner = f'<svg x="{MARGIN:g}" y="{MARGIN + HEADING:g}" width="{WIDTH - 2 * MARGIN:g}" height="{height:g}">{figure}</svg>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fig alone" width="{WIDTH:g}" height="{whole:g}" viewBox="0 0 {WIDTH:g} {whole:g}">'
        f"<style>{style()}\nsvg.alone {{ background: var(--paper); }} .fig text.heading {{ font-size: 19px; }}</style>"
        f'<text class="strong heading" x="{MARGIN:g}" y="{MARGIN + 18:g}">{escape(title)}</text>'
        f'<text x="{MARGIN:g}" y="{MARGIN + 40:g}">{escape(beneath)}</text>{inner}</svg>\n'
    )


def style() -> str:
    """The console's rules for colours and figures, light and dark."""
    sheet = (files("penstock.console") / "static" / "console.css").read_text("utf-8")
    colours = sheet[sheet.index(":root {") : sheet.index("*, ::before")]
    return "\n".join([colours.strip(), *(part for part in sheet.splitlines() if part.startswith((".fig", ".timeline")))])
