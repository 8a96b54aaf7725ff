"""What settings mean together: names that must exist, values that must parse. Pure."""

from collections.abc import Iterator, Mapping

from penstock.config import checks_money, checks_routing, checks_server, checks_spending, checks_telemetry, checks_upstreams
from penstock.config.problems import Problem, error, join, nearest, warning
from penstock.config.secrets import missing_secrets
from penstock.config.settings import Settings


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong or doubtful; errors first. `serve` does not start on errors."""
    found = [
        *checks_server.problems(settings),
        *checks_upstreams.problems(settings),
        *_model_problems(settings),
        *checks_routing.problems(settings),
        *checks_money.problems(settings),
        *checks_spending.problems(settings),
        *checks_telemetry.problems(settings),
    ]
    return sorted(found, key=lambda problem: problem.severity != "error")


def serve_obstacles(settings: Settings, environ: Mapping[str, str]) -> list[Problem]:
    """Why `serve` must not start: errors, and secrets that are not set. Empty: nothing."""
    errors = [problem for problem in problems(settings) if problem.severity == "error"]
    return errors + missing_secrets(settings, environ)


def _model_problems(settings: Settings) -> Iterator[Problem]:
    if not settings.models:
        yield warning("models", "no models: every request will be answered 404", "add a table [models.<name>]")
    for name, model in settings.models.items():
        where = join("models", name)
        if model.upstream not in settings.upstreams:
            hint = nearest(model.upstream, settings.upstreams, f"add a table [upstreams.{model.upstream}]")
            yield error(f"{where}.upstream", f"there is no upstream `{model.upstream}`", hint)
        if model.price is not None:
            yield from checks_money.token_price_problems(f"{where}.price", model.price)
        if model.context and model.max_output and model.max_output > model.context:
            yield warning(f"{where}.max_output", "more than the whole `context`", "lower it; the two share the context window")
