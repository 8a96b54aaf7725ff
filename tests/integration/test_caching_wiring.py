"""The chores of the semantic cache as the controller has them: where it is on; where hosts share the store only the leader tidies."""

from contextlib import closing
from pathlib import Path

import pytest

from penstock.adapters import embedders
from penstock.bootstrap.answers import answers_url, open_answers
from penstock.bootstrap.chores import Duties, open_duties
from penstock.bootstrap.ledger import open_store
from penstock.config.load import parse
from penstock.config.settings import Settings
from penstock.domain.routing.similarity.evidence import Looked
from penstock.finops.leading import LeaderOnly
from penstock.ports.answer_store import Used
from tests.integration.test_caching_feedback import CONFIG
from tests.integration.test_caching_log import HOUR, T0, entry


def settings_of(folder: Path, cache: str) -> Settings:
    return parse(CONFIG.format(folder=folder) + f"[cache.semantic]\n{cache}\n", {})


def duties_of(settings: Settings) -> Duties:
    store = open_store(settings)
    return open_duties(settings, {}, store, lambda fleet: None)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "missing", list)


def test_a_turn_of_the_chores_follows_and_tidies(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "enabled = true")
    with closing(open_answers(settings, print)) as store:
        store.append([entry("old"), entry("new", expires_ns=T0 + 90 * HOUR)])
        duties = duties_of(settings)
        duties.chores.turn(T0 + 30 * HOUR)
        assert duties.answers is not None and set(duties.answers.standing.kept) == {"new"}
        assert duties.truth is not None and [scope.scope for scope in duties.truth.scopes()] == ["tenant=acme"]
        assert store.size()[0] == 1
    shown = {name for gauge in duties.gauges for name in gauge()}
    assert "penstock_semantic_cache_entries" in shown
    duties.answers.close()


def test_metrics_tell_what_the_pages_tell_of_the_promise(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 'enabled = true\nmode = "learned"')
    with closing(open_answers(settings, print)) as store:
        store.append([Used(at_ns=T0, worker="w", scopes={"tenant=acme": Looked(5000, 0, 0, 900, 0, 4.0)})])
    duties = duties_of(settings)
    duties.chores.turn(T0)
    shown = {name: list(samples) for gauge in duties.gauges for name, samples in gauge().items()}
    assert duties.truth is not None and duties.answers is not None
    (scope,) = duties.truth.scopes()
    assert (scope.mode, scope.expected, scope.promised) == ("learned", 4.0 / 5000, 0.005)
    assert shown["penstock_cache_expected_ratio"] == [(("expected",), scope.expected), (("at_most",), scope.at_most)]
    assert (shown["penstock_cache_promised_ratio"], shown["penstock_cache_alarms"]) == ([((), 0.005)], [((), 0.0)])
    duties.answers.close()


def test_nothing_is_tended_where_it_is_off_or_cannot_be_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert duties_of(settings_of(tmp_path, "enabled = false")).answers is None
    monkeypatch.setattr(embedders, "missing", lambda: ["numpy"])
    assert duties_of(settings_of(tmp_path, "enabled = true")).answers is None
    assert not (tmp_path / "journal" / "answers.db").exists()


@pytest.mark.parametrize(
    ("given", "shared", "url"),
    [
        ("auto", "local://", "local://"),
        ("auto", "redis://h:6379/1", "redis://h:6379/1"),
        ("postgresql://u@h/db", "redis://h:6379/1", "postgresql://u@h/db"),
    ],
)
def test_where_answers_are_kept(tmp_path: Path, given: str, shared: str, url: str) -> None:
    text = CONFIG.format(folder=tmp_path).replace("[server]\n", f'[server]\nshared = "{shared}"\n')
    settings = parse(text + f'[cache.semantic]\nenabled = true\nstore = "{given}"\n', {})
    assert answers_url(settings) == url


@pytest.mark.parametrize(("store", "led"), [("auto", False), ("redis://127.0.0.1:1/0", True)])
def test_what_hosts_share_one_of_them_tidies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, led: bool) -> None:
    seen: list[str] = []
    made = LeaderOnly.__init__

    def noting(self: LeaderOnly, chore: object, leader: object) -> None:
        seen.append(type(getattr(chore, "_chore", chore)).__name__)
        made(self, chore, leader)  # type: ignore[arg-type]

    monkeypatch.setattr(LeaderOnly, "__init__", noting)
    duties_of(settings_of(tmp_path, f'enabled = true\nstore = "{store}"'))
    assert ("Tidying" in seen) is led
