"""Secrets by the name of an environment variable: where they are used, and what they are."""

from collections.abc import Iterator, Mapping

from penstock.config.problems import ConfigError, Problem, error, join
from penstock.config.settings import Settings
from penstock.config.tables import Secret


def secrets_of(settings: Settings) -> Iterator[tuple[str, Secret]]:
    """Every secret that the settings name, with its key path."""
    if settings.auth.admin_key is not None:
        yield "auth.admin_key", settings.auth.admin_key
    if settings.auth.metrics_key is not None:
        yield "auth.metrics_key", settings.auth.metrics_key
    for name, upstream in settings.upstreams.items():
        if upstream.api_key is not None:
            yield f"{join('upstreams', name)}.api_key", upstream.api_key
    for name, notify in settings.notify.items():
        if isinstance(notify.url, Secret):
            yield f"{join('notify', name)}.url", notify.url
    for table, headers in (
        ("telemetry.headers", settings.telemetry.headers),
        ("telemetry.prometheus_headers", settings.telemetry.prometheus_headers),
    ):
        for name, header in headers.items():
            if isinstance(header, Secret):
                yield join(table, name), header


def missing_secrets(settings: Settings, environ: Mapping[str, str]) -> list[Problem]:
    """Secrets whose variable is unset or empty."""
    return [_missing(secret, where) for where, secret in secrets_of(settings) if not environ.get(secret.env)]


def reveal(secret: Secret, environ: Mapping[str, str], where: str = "") -> str:
    """The secret itself. Raises `ConfigError` naming the variable, and `where` it is used, when it is unset or empty."""
    value = environ.get(secret.env)
    if not value:
        raise ConfigError([_missing(secret, where or "secret")])
    return value


def _missing(secret: Secret, where: str) -> Problem:
    return error(where, f"the environment variable `{secret.env}` is not set", f"run `export {secret.env}=...` before starting Penstock")
