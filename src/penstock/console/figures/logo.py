"""The mark: a sluice gate half raised in its frame, and the stream that passes under it."""

from markupsafe import Markup


def logo() -> Markup:
    """The mark, 32 by 32; beside the name it is decoration."""
    return Markup(
        '<svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">'
        '<path class="logo-gate" d="M5 3v26M27 3v26M3 3.75h26"/>'
        '<path class="logo-leaf" d="M9 7h14v9H9z"/>'
        '<path class="logo-stream" d="M9 21.5c2.3-2 4.7-2 7 0s4.7 2 7 0M9 27c2.3-2 4.7-2 7 0s4.7 2 7 0"/>'
        "</svg>"
    )
