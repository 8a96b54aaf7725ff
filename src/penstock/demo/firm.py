"""Northwater, a fictional water utility: who uses AI there, for what, how often, and how many tokens it takes. All of it is invented."""

from typing import Literal

import msgspec

Rhythm = Literal["customers", "office", "night"]
SMALL, MEDIUM, LARGE = "brook-14b", "river-2", "ocean-3"
AUTO, CAREFUL = "auto", "careful"
"""routes"""


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One use of AI. Token counts are medians of the history; calls played live are shorter."""

    team: str | None
    """None: what nobody tagged"""
    name: str
    share: float
    """percent of all requests"""
    rhythm: Rhythm
    asks: str = AUTO
    mix: tuple[float, float, float] = (1, 0, 0)
    """parts of small, medium and large among what is chosen by complexity"""
    input: int
    output: int
    reasoning: int = 0
    spread: float = 0.55
    """sigma of the logarithm of a token count"""
    reread: float = 0.0
    """part of the input that the provider (or the engine) still had in its prompt cache"""
    repeated: float = 0.0
    """part of the requests that were asked before, word for word"""
    streamed: float = 0.0
    users: tuple[str, ...] = ()

    def tags(self) -> tuple[dict[str, str], ...]:
        """The tags of its requests, one set for each user; none at all when nobody tagged them."""
        if self.team is None:
            return ({},)
        known = {"team": self.team, "feature": self.name, "environment": "production"}
        return tuple(known | {"user": user} for user in self.users)


FEATURES = (
    Feature(
        team="support", name="chat", share=38, rhythm="customers", mix=(0.15, 0.35, 0.50), input=9_600, output=260, spread=0.40,
        reread=0.25, repeated=0.44, streamed=0.9, users=("web", "app", "kiosk"),
    ),
    Feature(
        team="support", name="triage", share=16, rhythm="customers", asks=CAREFUL, input=2_400, output=9, spread=0.50, reread=0.30,
        repeated=0.06, users=("mailroom",),
    ),
    Feature(
        team="support", name="letters", share=5, rhythm="office", mix=(0.15, 0.70, 0.15), input=4_000, output=420, spread=0.45,
        repeated=0.03, streamed=0.4, users=("amira", "bruno", "celia", "dov", "edith", "farid"),
    ),
    Feature(
        team="search", name="documents", share=14, rhythm="office", asks=CAREFUL, mix=(0.45, 0.37, 0.18), input=16_500, output=340,
        spread=0.50, reread=0.15, repeated=0.11, streamed=0.5,
        users=("gita", "hugo", "ines", "jonas", "karin", "leo", "mara", "nils", "olga", "pavel", "rosa", "sten"),
    ),
    Feature(
        team="search", name="tagging", share=10, rhythm="night", asks=SMALL, input=6_800, output=34, spread=0.60, reread=0.10,
        repeated=0.02, users=("svc-archive",),
    ),
    Feature(
        team="engineering", name="code", share=8.4, rhythm="office", mix=(0.05, 0.40, 0.55), input=82_000, output=1_200, reasoning=800,
        spread=0.75, reread=0.55, streamed=0.7, users=("svc-refactor", "tariq", "ulla", "viktor", "wanda", "xenia", "yusuf", "zora"),
    ),
    Feature(
        team="engineering", name="hydraulics", share=2.6, rhythm="office", asks=CAREFUL, mix=(0, 0.20, 0.80), input=9_000, output=1_900,
        reasoning=4_200, spread=0.60, streamed=0.6, users=("anton", "birgit", "cyril", "dana"),
    ),
    Feature(
        team="planning", name="forecast", share=2.0, rhythm="office", mix=(0, 0.15, 0.85), input=44_000, output=2_600, reasoning=6_500,
        spread=0.65, reread=0.20, streamed=0.3, users=("emil", "frida", "goran"),
    ),
    Feature(
        team="planning", name="summaries", share=3.5, rhythm="office", mix=(0.10, 0.55, 0.35), input=48_000, output=480, spread=0.50,
        repeated=0.05, streamed=0.2, users=("emil", "frida", "goran", "helga"),
    ),
)  # fmt: skip

UNTAGGED = Feature(team=None, name="", share=2.4, rhythm="office", mix=(0.2, 0.5, 0.3), input=5_000, output=500, spread=0.8)


def feature(name: str) -> Feature:
    """One of the nine. Raises `StopIteration` for another name."""
    return next(each for each in FEATURES if each.name == name)
