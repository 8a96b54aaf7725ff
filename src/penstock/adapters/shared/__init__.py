"""What processes share, by `[server] shared`: `local://` is one file for all workers of a host, `redis://...` serves all hosts."""

from pathlib import Path

from penstock.ports.budget_book import BookError, BudgetBook

_REDIS = ("redis://", "rediss://")


def open_book(shared_url: str, journal_dir: str | Path) -> BudgetBook:
    """The book behind a URL, nothing touched yet. Raises `BookError` for a URL of no known kind, or a missing driver."""
    if shared_url == "local://":
        from penstock.adapters.shared.local import LocalBook

        return LocalBook(journal_dir)
    if not shared_url.startswith(_REDIS):
        kind = shared_url.partition("://")[0]
        raise BookError(f"nothing is shared by `{kind}://`", "write [server] shared as `local://` or `redis://host:6379/0`")
    try:
        from penstock.adapters.shared.redis import RedisBook
    except ImportError as problem:
        raise BookError("a redis:// book needs the redis client", "install the extra: `pip install 'penstock[redis]'`") from problem
    return RedisBook(shared_url)


def fresh_book(journal_dir: str | Path) -> None:
    """Removes the local book: the next one to open it begins it anew. Only while nobody has it open. Raises `BookError`."""
    from penstock.adapters.shared.local import book_files

    for path in book_files(journal_dir):
        try:
            path.unlink(missing_ok=True)
        except OSError as problem:
            hint = "make the journal's directory writable for this user"
            raise BookError(f"cannot begin the book of budgets {path} anew: {problem.strerror}", hint) from problem
