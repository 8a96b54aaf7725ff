"""Tags of requests on their way in: values are kept in the allowed spelling, and what the config says is asked of nobody."""

import pytest

from tests.integration.gateway_rig import on_loop, one_upstream, rig
from tests.integration.upstream_rig import answer, completion, scripted

GOOD = answer(completion())
ALLOWED = '[tags]\nallowed = { sla = ["critical", "best_effort"] }'
DERIVED = '[tags]\ndeclared = ["team", "model-name", "optimization-level"]\nrequired = ["team", "model-name", "optimization-level"]'


@pytest.mark.parametrize("value", ["best_effort", "Best-Effort"])
@on_loop
async def test_a_value_is_kept_as_it_is_allowed(value: str) -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more=ALLOWED)) as running:
        assert (await running.chat(headers={"penstock-tag-sla-tier": value})).status == 200
        assert (running.record.tags, running.record.sla) == ({"sla": "best_effort"}, "best_effort")


@on_loop
async def test_another_value_is_refused() -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more=ALLOWED)) as running:
        assert (await running.chat(headers={"penstock-tag-sla": "besteffort"})).status == 400
        assert upstream.asked == []


@on_loop
async def test_a_required_tag_that_the_config_knows_need_not_be_sent() -> None:
    async with scripted(GOOD) as upstream, rig(one_upstream(upstream.url, more=DERIVED)) as running:
        assert (await running.chat()).status == 400
        assert (await running.chat(headers={"penstock-tag-team": "search"})).status == 200
