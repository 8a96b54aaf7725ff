"""Messages by the settings: the notifiers of `[notify.*]`, and the outbox that they are delivered from."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from penstock.bootstrap.ledger import open_documents
from penstock.config.settings import Settings

if TYPE_CHECKING:
    from penstock.finops.alerting.outbox import Outbox
    from penstock.ports.notifier import Notifier

ANY_ADDRESS = ("0.0.0.0", "[::]", "")  # noqa: S104  nothing is bound here


def open_notifiers(settings: Settings, environ: Mapping[str, str]) -> "dict[str, Notifier]":
    """Every `[notify.*]`, by name. Raises `ConfigError` for secrets that are not set, addresses that are none, and an extra that is
    not there."""
    from penstock.adapters.notify import open_notifier
    from penstock.config.problems import ConfigError, error, join
    from penstock.config.secrets import reveal
    from penstock.ports.notifier import NotifyError

    opened, problems = {}, []
    for name, given in settings.notify.items():
        where = f"{join('notify', name)}.url"
        try:
            address = given.url if isinstance(given.url, str) else reveal(given.url, environ, where)
            opened[name] = open_notifier(given.kind, name, address)
        except NotifyError as problem:
            problems.append(error(where, str(problem), problem.hint))
        except ConfigError as problem:
            problems += problem.problems
    if problems:
        raise ConfigError(problems)
    return opened


def open_outbox(settings: Settings, environ: Mapping[str, str], log: Callable[[str], None]) -> "Outbox":
    """Writes messages down and delivers them. Raises `ConfigError`, as `open_notifiers` does, and `StoreError`."""
    from penstock.finops.alerting.outbox import Outbox

    return Outbox(open_documents(settings), open_notifiers(settings, environ), log)


def console_link(settings: Settings, page: str) -> str | None:
    """Address of a page of the console for messages; None where Penstock listens on any address, and nobody said under which name."""
    host = settings.server.listen.rpartition(":")[0]
    return None if host in ANY_ADDRESS else f"http://{settings.server.listen}{page}"
