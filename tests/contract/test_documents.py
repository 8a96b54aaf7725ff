"""What every store of documents does: one law over SQLite and PostgreSQL."""

from pathlib import Path

from penstock.adapters.stores import open_documents
from penstock.ports.documents import Document


def doc(id: str, at_ns: int = 1, body: str = "{}", kind: str = "audit") -> Document:
    return Document(kind, id, at_ns, body)


def test_the_first_of_an_id_stays(url: str) -> None:
    documents = open_documents(url)
    assert documents.add(doc("a", body='{"x":1}'))
    assert not documents.add(doc("a", body='{"x":2}'))
    assert documents.get("audit", "a") == doc("a", body='{"x":1}')
    assert documents.add(doc("a", kind="other"))


def test_one_is_put_in_the_place_of_another(url: str) -> None:
    documents = open_documents(url)
    documents.put(doc("a"))
    documents.put(doc("a", 2, '{"x":2}'))
    assert documents.get("audit", "a") == doc("a", 2, '{"x":2}')


def test_only_what_was_expected_is_swapped(url: str) -> None:
    documents = open_documents(url)
    assert documents.swap(doc("lease", 1, '"one"'), None)
    assert not documents.swap(doc("lease", 2, '"two"'), None)
    assert not documents.swap(doc("lease", 2, '"two"'), '"three"')
    assert documents.swap(doc("lease", 2, '"two"'), '"one"')
    assert documents.get("audit", "lease") == doc("lease", 2, '"two"')


def test_lists_are_newest_first_from_an_instant_on(url: str) -> None:
    documents = open_documents(url)
    for id, at in (("a", 1), ("b", 3), ("c", 2)):
        documents.add(doc(id, at))
    documents.add(doc("d", 9, kind="other"))
    assert [each.id for each in documents.since("audit", 2)] == ["b", "c"]
    assert [each.id for each in documents.since("audit", limit=1)] == ["b"]


def test_what_is_removed_is_gone(url: str) -> None:
    documents = open_documents(url)
    documents.add(doc("a"))
    documents.remove("audit", "a")
    documents.remove("audit", "a")
    assert documents.get("audit", "a") is None


def test_looking_creates_nothing(url: str, tmp_path: Path) -> None:
    assert open_documents(url).since("audit") == [] and open_documents(url).get("audit", "a") is None
    assert list(tmp_path.iterdir()) == []
