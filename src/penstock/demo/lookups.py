"""What the features of the route `careful` ask live that has one right answer, how hard it is, and how able the firm's models are."""

import json
from typing import Final, NamedTuple

SKILLS: Final = {"small": 0.9, "medium": 0.96, "large": 1.0}
"""tier -> 0 to 1, as simulated engines have it"""
LABELS: Final = ("leak", "bill", "quality", "other")


class Lookup(NamedTuple):
    """A question as it stands in what is asked, whatever stands around it."""

    asked: str
    right: str
    wrong: tuple[str, ...]
    difficulty: float
    """0 to 1"""


def _ticket(text: str, label: str, difficulty: float) -> Lookup:
    return Lookup(text, label, tuple(other for other in LABELS if other != label), difficulty)


def _figure(asked: str, right: float, unit: str, difficulty: float) -> Lookup:
    """A figure, and three that come of usual mistakes."""
    said = [f"Taking the values as given, step by step: the answer is {right * off:.2f} {unit}." for off in (1, 0.5, 2.04, 9.81)]
    return Lookup(asked, said[0], tuple(said[1:]), difficulty)


TICKETS: Final = (
    _ticket("brown water since this morning", "quality", 0.2),
    _ticket("my bill doubled", "bill", 0.1),
    _ticket("wet patch on the pavement", "leak", 0.5),
    _ticket("please change my name", "other", 0.3),
    _ticket("no pressure upstairs", "other", 0.84),
    _ticket("smell of chlorine", "quality", 0.4),
)
DIAMETERS: Final = ("110", "160", "225", "315", "400")
FIGURES: Final = (
    *(
        _figure(f"pressure loss for {mm} mm pipe", loss, "bar", difficulty)
        for mm, loss, difficulty in zip(DIAMETERS, (0.61, 0.39, 0.26, 0.17, 0.13), (0.8, 0.88, 0.9, 0.93, 0.97), strict=True)
    ),
    *(
        _figure(f"water hammer of a {mm} mm main", surge, "bar", difficulty)
        for mm, surge, difficulty in zip(DIAMETERS, (5.2, 5.6, 6.1, 6.6, 7.0), (0.86, 0.9, 0.94, 0.96, 0.98), strict=True)
    ),
)
DIFFICULTIES: Final = {
    "triage": tuple(each.difficulty for each in TICKETS),
    "hydraulics": tuple(each.difficulty for each in FIGURES),
}
"""of a feature's questions; one that is not named has questions of any difficulty"""


def file() -> str:
    """The answers as a simulated engine reads them."""
    return "".join(
        f"\n[[answers]]\nto         = {json.dumps([each.asked])}\nsay        = {json.dumps([each.right])}\n"
        f"wrong      = {json.dumps(each.wrong)}\ndifficulty = {each.difficulty}\n"
        for each in (*TICKETS, *FIGURES)
    )
