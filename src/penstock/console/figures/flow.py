"""Where the money went, as a penstock: a pipe as wide as the amount that comes in, from which every lever branches off.

What a lever saved leaves the pipe, what something cost on top flows in from outside; what is left is what was paid. All
widths have one scale. The figure lies for wide screens and stands for narrow ones.
"""

from collections.abc import Sequence

import msgspec
from markupsafe import Markup

from penstock.console.figures.svg import drawn, n, text

BORE = 170.0
"""width of the pipe where it is widest"""
BEND = 16.0
"""inner radius of a branch"""
HAIR = 1.5
"""width of what is too small to be drawn, or nothing"""


class Branch(msgspec.Struct, frozen=True):
    """What leaves the pipe (`amount` above 0) or joins it (below 0), with two lines of words."""

    name: str
    amount: float
    words: str
    beneath: str


class _Plan(msgspec.Struct, frozen=True):
    """How the pipe lies: `length` along it, the edge that stays, how far branches reach, the room that a label needs, and
    where branches begin (shares of the length) when they have more room than they need."""

    length: float
    edge: float
    reach: float
    room: float
    first: float
    step: float
    stands: bool

    def at(self, along: float, across: float) -> str:
        x, y = (across, along) if self.stands else (along, across)
        return f"{n(x)} {n(y)}"

    def arc(self, radius: float, along: float, across: float, clockwise: bool) -> str:
        return f"A{n(radius)} {n(radius)} 0 0 {int(clockwise != self.stands)} {self.at(along, across)}"


LYING = _Plan(960, 58, 290, 190, 0.13, 0.27, False)
STANDING = _Plan(500, 0, 214, 90, 0.14, 0.2, True)


def flow(total: float, branches: Sequence[Branch], first: tuple[str, str], last: tuple[str, str], title: str, desc: str) -> Markup:
    """The figure, lying and standing: a stylesheet shows one of the two. `first` and `last` are the words at its ends."""
    lying = _drawn(LYING, total, branches, first, last, title, desc)
    standing = _drawn(STANDING, total, branches, first, last, title, desc)
    return lying + standing


def _drawn(
    plan: _Plan, total: float, branches: Sequence[Branch], first: tuple[str, str], last: tuple[str, str], title: str, desc: str
) -> Markup:
    most = level = max(total, 0.0)
    for branch in branches:
        level -= branch.amount
        most = max(most, level)
    scale = BORE / most if most > 0 else 0.0
    edge, bottom = plan.edge, plan.edge + total * scale
    body, labels = "", ""
    steps = [plan.at(0, edge), plan.at(plan.length, edge)]
    lower = [plan.at(0, max(bottom, edge + HAIR))]
    place = 0.0
    for index, branch in enumerate(branches):
        width = max(abs(branch.amount) * scale, HAIR)
        joins = branch.amount < 0
        start = max(place, plan.length * (plan.first + index * plan.step)) + (BEND + width if joins else 0.0)
        lower.append(plan.at(start, max(bottom, edge + HAIR)))
        body += _bend(plan, start, bottom, width, joins) if branch.amount else _stub(plan, start, bottom)
        middle = start + (-1 if joins else 1) * (BEND + width / 2)
        labels += _label(plan, middle, branch, "copper" if joins else "strong")
        bottom -= branch.amount * scale
        lower.append(plan.at(start, max(bottom, edge + HAIR)))
        place = max(start + BEND + width, middle) + plan.room * 0.6
    lower.append(plan.at(plan.length, max(bottom, edge + HAIR)))
    body += f'<path class="water" d="M{"L".join([*steps, *reversed(lower)])}Z"/>'
    labels += _ends(plan, first, last)
    side = "standing-flow" if plan.stands else "lying-flow"
    size = (340.0, plan.length + 46) if plan.stands else (plan.length, plan.reach + 62)
    return drawn(*size, body + labels, title, desc, kind=f"flow {side}")


def _bend(plan: _Plan, start: float, bottom: float, width: float, joins: bool) -> str:
    """A quarter turn and a straight end: away from the pipe at its lower edge, or into it beneath that edge."""
    wide = BEND + width
    inner, turn = (bottom + width, bottom + width + BEND) if joins else (bottom, bottom + BEND)
    outer = bottom if joins else bottom - width
    sign = -1 if joins else 1
    far, near = start + sign * wide, start + sign * BEND
    path = (
        f"M{plan.at(start, outer)}{plan.arc(wide, far, turn, not joins)}L{plan.at(far, plan.reach)}L{plan.at(near, plan.reach)}"
        f"L{plan.at(near, turn)}{plan.arc(BEND, start, inner, joins)}Z"
    )
    return f'<path class="{"copper" if joins else "w2"}" d="{path}"/>'


def _stub(plan: _Plan, start: float, bottom: float) -> str:
    """A lever that did nothing: a dotted way, so that it is seen to be there."""
    return f'<path class="dotted" d="M{plan.at(start + BEND, bottom + 4)}L{plan.at(start + BEND, plan.reach)}"/>'


def _label(plan: _Plan, middle: float, branch: Branch, kind: str) -> str:
    if plan.stands:
        x, y = plan.reach + 10, middle
        lines = (
            (x, y - 9, branch.name, "", "start"),
            (x, y + 7, branch.words, kind, "start"),
            (x, y + 22, branch.beneath, "small", "start"),
        )
    else:
        x, y = middle, plan.reach
        lines = (
            (x, y + 20, branch.name, "", "middle"),
            (x, y + 38, branch.words, kind, "middle"),
            (x, y + 54, branch.beneath, "small", "middle"),
        )
    return "".join(text(*line) for line in lines)


def _ends(plan: _Plan, first: tuple[str, str], last: tuple[str, str]) -> str:
    if plan.stands:
        y = plan.length + 22
        return (
            text(plan.edge + BORE + 14, 24, first[0], "amount", "start")
            + text(plan.edge + BORE + 14, 42, first[1], "small", "start")
            + text(plan.edge, y, last[0], "amount", "start")
            + text(plan.edge, y + 18, last[1], "small", "start")
        )
    return (
        text(0, plan.edge - 30, first[0], "amount", "start")
        + text(0, plan.edge - 12, first[1], "small", "start")
        + text(plan.length, plan.edge - 30, last[0], "amount", "end")
        + text(plan.length, plan.edge - 12, last[1], "small", "end")
    )
