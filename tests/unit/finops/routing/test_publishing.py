"""Policies as they are published: what is told of a change, and to whom."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from penstock.adapters.stores import open_documents
from penstock.adapters.stores.audit import DocumentAudit
from penstock.domain.routing.course import Course, Stage
from penstock.domain.routing.proving.policy import RoutePolicy, State, TagPolicy
from penstock.finops.routing.publishing import KIND, Published, Publisher, published
from penstock.ports.documents import Document
from penstock.ports.notifier import Message

LAST = Course((Stage("direct", ("large",)),), "because")


def policy(state: State, at_ns: int, *, tag: str = "support", route: str = "auto", loss: float | None = 0.012) -> RoutePolicy:
    found = TagPolicy(tag=tag, state=state, course=LAST, labels=120, expected_loss=loss)
    return RoutePolicy(route=route, at_ns=at_ns, error_budget=0.03, models={"large": "l@1"}, tags={tag: found})


class Scene:
    def __init__(self, url: str) -> None:
        self.documents = open_documents(url)
        self.audit = DocumentAudit(self.documents)
        self.log: list[str] = []
        self.sent: list[tuple[tuple[str, ...], Message]] = []
        self.publisher = Publisher(self.documents, self.audit, self, ["ops"], self.log.append, "http://console/routing")

    def send(self, recipients: Sequence[str], message: Message) -> int:
        self.sent.append((tuple(recipients), message))
        return 1

    @property
    def actions(self) -> list[str]:
        return [entry.action for entry in reversed(self.audit.since())]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(f"sqlite:///{tmp_path / 'p.db'}")


def test_what_is_published_is_read_by_all(scene: Scene) -> None:
    scene.publisher.publish(policy("proven", 5))
    scene.publisher.publish(policy("closed", 5, route="other"))
    assert [each.route for each in published(scene.documents)] == ["auto", "other"]
    assert [each.route for each in Published(scene.documents, ["auto"])()] == ["auto"]


def test_a_state_keeps_the_instant_at_which_it_began(scene: Scene) -> None:
    scene.publisher.publish(policy("proven", 5))
    scene.publisher.publish(policy("proven", 9))
    (found,) = published(scene.documents)
    assert (found.at_ns, found.tags["support"].since_ns) == (9, 5)
    scene.publisher.publish(policy("closed", 12))
    assert published(scene.documents)[0].tags["support"].since_ns == 12


def test_changes_are_told_once(scene: Scene) -> None:
    for at, state in enumerate(("closed", "expected", "expected", "proven", "alarm", "alarm", "closed", "off")):
        scene.publisher.publish(policy(state, at + 1))  # type: ignore[arg-type]
    assert scene.actions == ["routing.open", "routing.alarm", "routing.close", "routing.off"]
    assert len(scene.log) == 4
    assert scene.log[1].startswith("warning: Route auto, support: ") and "expected loss 1.20% of 3.0%, 120 labels" in scene.log[1]


def test_people_hear_of_alarms_and_of_their_end(scene: Scene) -> None:
    for at, state in enumerate(("proven", "alarm", "alarm", "expected")):
        scene.publisher.publish(policy(state, at + 1))  # type: ignore[arg-type]
    (to, begun), (_, ended) = scene.sent
    assert to == ("ops",)
    assert (begun.severity, begun.status, begun.at_ns, begun.link) == ("warning", "firing", 2, "http://console/routing")
    assert begun.labels == {"alertname": "PenstockRouteAlarm", "route": "auto", "tag": "support"}
    assert begun.details["expected_loss"] == 0.012 and begun.details["was"] == "proven"
    assert (ended.severity, ended.status) == ("info", "resolved")
    assert begun.id != ended.id


def test_an_unknown_loss_is_said_to_be(scene: Scene) -> None:
    scene.publisher.publish(policy("alarm", 1, loss=None))
    assert "expected loss unknown" in scene.log[0]
    assert scene.sent[0][1].details["expected_loss"] is None


def test_routes_that_are_gone_are_withdrawn(scene: Scene) -> None:
    scene.publisher.publish(policy("proven", 5))
    scene.publisher.publish(policy("proven", 5, route="gone"))
    scene.publisher.withdraw(["auto"])
    assert [each.route for each in published(scene.documents)] == ["auto"]


def test_what_another_version_wrote_is_as_good_as_nothing(scene: Scene) -> None:
    scene.documents.put(Document(KIND, "auto", 1, '{"route": 7}'))
    assert published(scene.documents) == ()
    scene.publisher.publish(policy("proven", 5))
    assert len(published(scene.documents)) == 1


def test_gauges_tell_states_and_known_losses(scene: Scene) -> None:
    look = Published(scene.documents, ["auto"])
    assert look.gauges() == {"penstock_route_error_budget": [], "penstock_route_expected_loss": [], "penstock_route_state": []}
    scene.publisher.publish(policy("proven", 5))
    look()
    assert look.gauges() == {
        "penstock_route_error_budget": [(("auto",), 0.03)],
        "penstock_route_expected_loss": [(("auto", "support"), 0.012)],
        "penstock_route_state": [(("auto", "support", "proven"), 1.0)],
    }
