"""The files of each target, as text under the names they are written to."""

import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from penstock.config.checks_server import metrics_keyed
from penstock.config.settings import Settings
from penstock.deploy.grafana import dashboard
from penstock.deploy.prometheus import rules, scrape

Target = Literal["grafana", "prometheus"]
_HEAD = "# made by `penstock deploy render prometheus`\n"


class File(msgspec.Struct, frozen=True):
    name: str
    text: str


def render(target: Target, settings: Settings) -> tuple[File, ...]:
    """What a target needs for this configuration: labels follow its declared tags, the scraped address its `listen`."""
    declared = settings.tags.declared
    if target == "grafana":
        return (File("penstock-dashboard.json", json.dumps(dashboard(declared), indent=2, ensure_ascii=False) + "\n"),)
    return (
        File("penstock-rules.yml", _HEAD + _yaml(rules(declared))),
        File("penstock-scrape.yml", _HEAD + _yaml(scrape(settings.server.listen, keyed=metrics_keyed(settings)))),
    )


def _yaml(document: Mapping[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(dict(document), sort_keys=False, width=100_000, allow_unicode=True)
    return text
