"""What every store of directives does: one law over SQLite and PostgreSQL."""

from penstock.adapters.stores import open_documents
from penstock.adapters.stores.directives import DocumentDirectives
from penstock.ports.directives import Directive

NOW = 1_790_000_000_000_000_000
MINUTE = 60 * 10**9


def directive(id: str, *, since_ns: int = NOW, until_ns: int = NOW + MINUTE) -> Directive:
    return Directive(
        id=id, kind="shift_traffic", objective="o", where={"team": "ä"}, since_ns=since_ns, until_ns=until_ns, argument="small"
    )


def test_what_stands_is_told_oldest_first_as_it_was_put(url: str) -> None:
    directives = DocumentDirectives(open_documents(url))
    assert list(directives.standing(NOW)) == []
    scaled = Directive(
        id="c", kind="scale_down", objective="o", where={}, since_ns=NOW - 1, until_ns=NOW + 1, argument="l40s", target_units=2
    )
    for each in (directive("b"), directive("a"), scaled):
        directives.put(each)
    assert list(directives.standing(NOW)) == [scaled, directive("a"), directive("b")]


def test_one_that_nobody_renews_ends_by_itself(url: str) -> None:
    directives = DocumentDirectives(open_documents(url))
    directives.put(directive("a"))
    assert list(directives.standing(NOW + MINUTE)) == []
    renewed = directive("a", until_ns=NOW + 2 * MINUTE)
    directives.put(renewed)
    assert list(directives.standing(NOW + MINUTE)) == [renewed]


def test_what_is_lifted_is_gone_and_may_be_lifted_again(url: str) -> None:
    directives = DocumentDirectives(open_documents(url))
    directives.put(directive("a"))
    directives.put(directive("b"))
    directives.lift("a")
    directives.lift("a")
    assert [each.id for each in directives.standing(NOW)] == ["b"]
