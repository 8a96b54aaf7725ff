"""Who answers for a tier by the config, as evidence names it."""

from collections.abc import Mapping

from penstock.config.settings import Settings
from penstock.domain.routing.tiers import edition


def edition_of(settings: Settings, tier: str) -> str:
    """The edition of the model of a tier."""
    name = settings.tiers[tier].model
    model = settings.models[name]
    return edition(model.name or name, model.version)


def editions_of(settings: Settings, route: str) -> Mapping[str, str]:
    """Tier -> edition, in the order of the route: cheap to dear."""
    return {tier: edition_of(settings, tier) for tier in settings.routes[route].tiers}
