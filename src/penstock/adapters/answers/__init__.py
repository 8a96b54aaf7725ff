"""Where the semantic cache keeps its log and its answers, by a URL: `local://` is a file beside the journal, for the workers of one host;
`redis://...` and `postgresql://...` serve all hosts.

Vectors lie in the events as they are: every worker loads them into indexes of its own, so a vector column (pgvector) would be written and
never searched.
"""

from collections.abc import Callable
from pathlib import Path

from penstock.ports.answer_store import AnswerStore, AnswerStoreError

_REDIS = ("redis://", "rediss://")
_POSTGRES = ("postgresql://", "postgres://")


def open_answers(url: str, journal_dir: str | Path, log: Callable[[str], None]) -> AnswerStore:
    """The store behind a URL, nothing touched yet. Raises `AnswerStoreError` for a URL of no known kind, or a missing driver.

    `log` is told when a damaged file was set aside.
    """
    if url == "local://":
        from penstock.adapters.answers.sqlite import SqliteAnswers

        return SqliteAnswers(Path(journal_dir) / "answers.db", log)
    if url.startswith(_POSTGRES):
        try:
            from penstock.adapters.answers.postgres import PostgresAnswers
        except ImportError as problem:
            hint = "install the extra: `pip install 'penstock[postgres]'`"
            raise AnswerStoreError("answers in postgresql:// need psycopg", hint) from problem
        return PostgresAnswers(url)
    if not url.startswith(_REDIS):
        hint = "write [cache.semantic] store as `auto`, `redis://host:6379/0` or `postgresql://user@host:5432/database`"
        raise AnswerStoreError(f"no answers are kept by `{url.partition('://')[0]}://`", hint)
    try:
        from penstock.adapters.answers.redis import RedisAnswers
    except ImportError as problem:
        raise AnswerStoreError(
            "answers in redis:// need the redis client", "install the extra: `pip install 'penstock[redis]'`"
        ) from problem
    return RedisAnswers(url)
