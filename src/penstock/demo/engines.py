"""The demo's models as its records name them, and how fast they answer in the history."""

import msgspec

from penstock.config.settings import Settings
from penstock.demo.firm import LARGE, MEDIUM, SMALL


class Engine(msgspec.Struct, frozen=True):
    """A configured model as records name it, and how fast it answers (microseconds)."""

    model: str
    tier: str
    upstream: str
    version: str | None
    optimization: str | None
    fleet: str | None
    gpu: str | None
    region: str | None
    first_us: int
    prefill_us: float
    """per uncached input token"""
    decode_us: float
    """per output token"""

    @property
    def replica(self) -> str:
        """The one host that the upstream had in those days."""
        return f"{self.upstream}.northwater.example"


_SPEEDS = {SMALL: (60_000, 45.0, 9_500.0), MEDIUM: (260_000, 11.0, 8_500.0), LARGE: (480_000, 16.0, 17_000.0)}


def engines(settings: Settings) -> dict[str, Engine]:
    """The models of the tiers, with the labels that the gateway would put on their records."""
    made = {}
    fleets = {fleet.upstream: (name, fleet) for name, fleet in settings.fleets.items()}
    for tier, given in settings.tiers.items():
        model = settings.models[given.model]
        name, fleet = fleets.get(model.upstream, (None, None))
        made[given.model] = Engine(
            given.model, tier, model.upstream, model.version, model.optimization, name,
            fleet.gpu if fleet else None, fleet.where.region if fleet else None, *_SPEEDS[given.model],
        )  # fmt: skip
    return made
