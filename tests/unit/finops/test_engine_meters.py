"""What is made of meters: GPUs, slices, engines of several makes, restarts, and everything that is missing."""

import msgspec
import pytest

from penstock.config.hardware import FleetMetrics
from penstock.config.load import parse
from penstock.domain.ledger.entries import HOUR_NS, EngineHour
from penstock.finops.meters.engines import engine_span, reachable
from penstock.finops.meters.series import Question, question, selector
from penstock.ports.telemetry import Series, TelemetryError
from tests.unit.finops.telemetries import HOUR, SINCE, Given, every, rising, series

ASKED = Question(fleet="l40s", gpu="L40S", models=("llama",))
ACTIVE, TEMP, POWER = "DCGM_FI_PROF_GR_ENGINE_ACTIVE", "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE"
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
SLICE = {"UUID": "GPU-a", "GPU_I_ID": "3", "GPU_I_PROFILE": "2g.20gb"}
BEGIN_NS = HOUR * HOUR_NS


def read(told: Given, asked: Question = ASKED) -> EngineHour:
    return engine_span(told, asked, HOUR * 3600, (HOUR + 1) * 3600)


def with_(**changes: object) -> Question:
    return msgspec.structs.replace(ASKED, **changes)


def test_utilisation_is_over_all_gpus_and_instants() -> None:
    found = read(Given(series(ACTIVE, every(0.2), UUID="GPU-a"), series(ACTIVE, every(0.6), UUID="GPU-b")))
    assert found.active == pytest.approx(0.4)
    assert (found.active_p95, found.note) == (0.6, "")
    assert (found.fleet, found.hour, found.runs) == ("l40s", HOUR, None)


def test_a_gpu_that_pods_share_counts_once() -> None:
    told = [series(ACTIVE, every(0.5), UUID="GPU-a", pod=pod) for pod in ("x", "y")]
    assert read(Given(*told, series(ACTIVE, every(0.0), UUID="GPU-b"))).active == pytest.approx(0.25)


def test_the_new_names_of_dcgm_are_known_and_the_old_one_is_not_counted_beside_them() -> None:
    new = "DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO"
    assert read(Given(series(new, every(0.3), UUID="GPU-a"))).active == pytest.approx(0.3)
    both = Given(series(new, every(0.3), UUID="GPU-a"), series(ACTIVE, every(0.4), UUID="GPU-a"))
    assert read(both).active == pytest.approx(0.4)


def test_slices_are_told_from_cards_and_from_slices_of_another_profile() -> None:
    told = Given(
        series(ACTIVE, every(0.9), UUID="GPU-b"),
        series(ACTIVE, every(0.1), **{**SLICE, "GPU_I_ID": "5", "GPU_I_PROFILE": "1g.10gb"}),
        series(ACTIVE, every(0.4), **SLICE),
    )
    assert read(told, with_(gpu="A100-80GB", mig="2g.20gb")).active == pytest.approx(0.4)
    assert read(told).active == pytest.approx(0.9)
    other = read(told, with_(gpu="A100-80GB", mig="3g.40gb"))
    assert other.active is None
    assert "no series is of a 3g.40gb slice, only of 1g.10gb, 2g.20gb, whole cards" in other.note
    cards = read(Given(series(ACTIVE, every(0.4), **SLICE)))
    assert (cards.active, cards.note) == (None, "its series are of MIG slices (2g.20gb): name the profile with `mig`")


def test_readings_of_slices_above_one_are_one() -> None:
    told = Given(series("DCGM_FI_PROF_SM_ACTIVE", every(0.5, until=60) | every(1.294, since=60), **SLICE))
    found = read(told, with_(gpu="A100-80GB", mig="2g.20gb"))
    assert found.active == pytest.approx(0.75)
    assert found.active_p95 == 1
    assert found.note == "readings above 1 (up to 1.29) are taken for 1"


@pytest.mark.parametrize("value", [87.0, -0.5])
def test_what_is_no_share_is_left_out(value: float) -> None:
    found = read(Given(gives={"x": [Series({}, series("x", every(value)).points)]}), with_(metrics=FleetMetrics(active="x")))
    assert found.active is None
    assert "no shares of the time" in found.note


def test_gpu_util_is_never_reckoned_with() -> None:
    found = read(Given(series("DCGM_FI_DEV_GPU_UTIL", every(98.0), UUID="GPU-a")))
    assert (found.active, found.active_p95) == (None, None)
    assert "add DCGM_FI_PROF_GR_ENGINE_ACTIVE" in found.note


def test_blank_readings_of_dcgm_are_unknown() -> None:
    assert read(Given(series(ACTIVE, every(140737488355328.0), UUID="GPU-a"))).active is None


def test_seconds_by_model_over_replicas_and_restarts() -> None:
    restarted = rising(0.5, 100.0, until=60) | rising(0.5, 0.0, since=60)
    told = Given(
        series("vllm:request_prefill_time_seconds_sum", rising(0.1, 7.0), model_name="llama", instance="a"),
        series("vllm:request_prefill_time_seconds_sum", rising(0.2), model_name="llama", instance="b"),
        series("vllm:request_prefill_time_seconds_sum", rising(1.0), model_name="qwen", instance="b"),
        series("vllm:request_decode_time_seconds_sum", restarted, model_name="llama", instance="a"),
    )
    found = read(told, with_(models=("llama", "qwen")))
    assert found.prefill_s == {"llama": pytest.approx(36), "qwen": pytest.approx(120)}
    assert found.decode_s == {"llama": pytest.approx(0.5 * 59 + 0.5 * 60)}
    assert found.note == ""


def test_engines_of_several_makes_and_only_their_own_stages() -> None:
    told = Given(
        series("llamacpp:prompt_seconds_total", rising(0.1)),
        series("sglang:per_stage_req_latency_seconds_sum", rising(0.2), stage="prefill_forward"),
        series("sglang:per_stage_req_latency_seconds_sum", rising(9.0), stage="chunked_prefill"),
        series("tgi_batch_forward_duration_sum", rising(0.3), method="prefill"),
        series("tgi_batch_forward_duration_sum", rising(0.4), method="decode"),
        series("sglang:inter_token_latency_seconds_sum", rising(0.5)),
    )
    found = read(told)
    assert found.prefill_s == {"llama": pytest.approx(12 + 24 + 36)}
    assert found.decode_s == {"llama": pytest.approx(48 + 60)}


def test_seconds_of_nobody_knows_which_model_are_left_out() -> None:
    told = Given(series("llamacpp:prompt_seconds_total", rising(0.1)))
    found = read(told, with_(models=("a", "b")))
    assert found.prefill_s == {}
    assert "the fleet serves several models" in found.note
    named = read(Given(series("vllm:request_prefill_time_seconds_sum", rising(0.1), model_name="c")), with_(models=("a", "b")))
    assert list(named.prefill_s) == ["c"]
    assert named.note == "no model of the config is called `c` by its engine"


def test_energy_is_the_counters_growth_or_watts_over_time() -> None:
    counter = series(ENERGY, rising(30 * 250 * 1000.0, 9e9), UUID="GPU-a")
    assert read(Given(counter)).energy_j == 250 * 3600
    watts = series(POWER, every(300.0), UUID="GPU-b")
    assert read(Given(counter, watts)).energy_j == 550 * 3600
    unknown = read(Given(counter, watts, series(TEMP, every(40.0), UUID="GPU-c")))
    assert (unknown.energy_j, unknown.note) == (None, "the energy of 1 of 3 GPUs is unknown")
    assert read(Given(gives={"p": [series("p", every(100.0))]}), with_(metrics=FleetMetrics(power="p"))).energy_j == 360_000


def test_energy_of_slices_is_their_share() -> None:
    told = [series(POWER, every(350.0), **{**SLICE, "GPU_I_ID": number}) for number in ("3", "5")]
    found = read(Given(*told), with_(gpu="A100-80GB", mig="2g.20gb"))
    assert found.energy_j == round(2 * 350 * 3600 * 2 / 7)
    assert found.note == "energy is its slices' share of their cards'"


def test_watts_over_a_time_that_was_not_seen_are_no_energy() -> None:
    seen = dict.fromkeys(range(-20, 60), 1.0)
    found = read(Given(series(POWER, every(300.0, until=60), UUID="GPU-a"), alive=seen))
    assert (found.energy_j, found.note) == (None, "the Prometheus has nothing of 50% of this time")


def test_what_is_no_number_is_unknown_and_counted() -> None:
    found = read(Given(series(ACTIVE, {}, tuple(range(120)), UUID="GPU-a")))
    assert (found.active, found.note) == (None, "120 readings were no numbers")


def test_a_prometheus_that_is_down_is_told_and_not_read_as_nothing() -> None:
    told = Given(series(ACTIVE, every(0.5), UUID="GPU-a"))
    told.raises = lambda _: TelemetryError("no answer from http://p: refused", "start it")
    with pytest.raises(TelemetryError):
        engine_span(told, ASKED, SINCE, SINCE + 3600)


def test_a_prometheus_that_was_down_then_leaves_all_unknown() -> None:
    found = read(Given(alive={}), with_(runs=True))
    assert found == EngineHour(fleet="l40s", hour=HOUR, note="the Prometheus has nothing of this time")


def test_fleets_without_match_are_not_told_apart() -> None:
    told = Given(series(ACTIVE, every(0.5), UUID="GPU-a"), gives={"x": [series("x", every(0.25))]})
    asked = with_(alone=False, runs=True)
    found = read(told, asked)
    assert (found.active, found.runs) == (None, None)
    assert found.note == "its series cannot be told from those of other fleets: give it `match`"
    own = read(told, msgspec.structs.replace(asked, metrics=FleetMetrics(active="x")))
    assert own.active == 0.25
    matched = read(
        Given(series(ACTIVE, every(0.5), UUID="GPU-a", Hostname="h"), series(ACTIVE, every(0.1), UUID="GPU-b", Hostname="i")),
        msgspec.structs.replace(asked, match={"Hostname": "h"}, runs=False),
    )
    assert matched.active == 0.5


class TestRuns:
    asked = with_(runs=True)

    def test_gpus_that_tell_of_themselves(self) -> None:
        told = [series(TEMP, every(40.0), UUID="GPU-a"), series(TEMP, every(41.0, since=60), UUID="GPU-b")]
        assert read(Given(*told), self.asked).runs == ((BEGIN_NS, 1), (BEGIN_NS + 1800 * 10**9, 2))

    def test_slices_are_units(self) -> None:
        told = [series(TEMP, every(40.0), **{**SLICE, "GPU_I_ID": number}) for number in ("3", "5", "9")]
        assert read(Given(*told), msgspec.structs.replace(self.asked, gpu="A100-80GB", mig="2g.20gb")).runs == ((BEGIN_NS, 3),)

    def test_scaled_to_zero(self) -> None:
        gone = series(TEMP, {-300: 40.0}, UUID="GPU-a", job="dcgm", instance="n1")
        assert read(Given(gone), self.asked).runs == ((BEGIN_NS, 0),)

    def test_nothing_ever_seen_is_not_zero(self) -> None:
        found = read(Given(), self.asked)
        assert (found.runs, found.note) == (None, "nothing of it was seen within 15d: check its `match`")

    def test_an_exporter_that_does_not_answer_is_not_zero(self) -> None:
        gpu = series(TEMP, every(40.0, until=30), UUID="GPU-a", job="dcgm", instance="n1")
        down = series("up", every(1.0, until=30) | every(0.0, since=30), job="dcgm", instance="n1")
        found = read(Given(gpu, down), self.asked)
        assert (found.runs, found.note) == (None, "for a part of this time nobody saw how many units ran")
        other = series("up", every(0.0), job="node", instance="n1")
        assert read(Given(gpu, other), self.asked).runs == ((BEGIN_NS, 1), (BEGIN_NS + 900 * 10**9, 0))

    def test_a_reading_that_is_no_number_is_not_zero(self) -> None:
        values = {index: 40.0 for index in range(-20, 121) if not 50 <= index < 55}
        assert read(Given(series(TEMP, values, tuple(range(50, 55)), UUID="GPU-a")), self.asked).runs == ((BEGIN_NS, 1),)
        assert read(Given(series(TEMP, values, UUID="GPU-a")), self.asked).runs == (
            (BEGIN_NS, 1),
            (BEGIN_NS + 1500 * 10**9, 0),
            (BEGIN_NS + 1650 * 10**9, 1),
        )

    def test_targets_that_answer_where_no_exporter_is(self) -> None:
        told = [series("up", every(1.0), job="vllm", instance=name) for name in ("a", "b")]
        told.append(series("up", every(0.0), job="vllm", instance="c"))
        asked = msgspec.structs.replace(self.asked, match={"job": "vllm"})
        found = read(Given(*told), asked)
        assert (found.runs, found.note) == (((BEGIN_NS, 2),), "running units are its targets that answered (`up`)")
        assert read(Given(*told), self.asked).runs is None, "without `match`, everything that is scraped would count"

    def test_targets_are_no_gpus(self) -> None:
        """Where GPUs told of themselves, answers of engines never stand in for them."""
        gone = series(TEMP, {-300: 40.0}, UUID="GPU-a", job="x")
        engine = series("up", every(1.0), job="x", instance="engine")
        assert read(Given(gone, engine), msgspec.structs.replace(self.asked, match={"job": "x"})).runs == ((BEGIN_NS, 0),)

    def test_an_expression_of_its_own(self) -> None:
        asked = msgspec.structs.replace(self.asked, metrics=FleetMetrics(replicas="r"))
        assert read(Given(gives={"r": [series("r", every(2.0)), series("r", every(1.0))]}), asked).runs == ((BEGIN_NS, 3),)
        assert read(Given(gives={"r": [series("r", every(0.0))]}), asked).runs == ((BEGIN_NS, 0),)
        halves = read(Given(gives={"r": [series("r", every(1.5))]}), asked)
        assert (halves.runs, halves.note) == (None, "`metrics.replicas` gives counts that are not whole")
        nothing = Given(gives={"r": [], "count_over_time((r)[15d:5m])": []})
        assert read(nothing, asked).runs is None
        once = Given(gives={"r": [], "count_over_time((r)[15d:5m])": [series("", every(1.0))]})
        assert read(once, asked).runs == ((BEGIN_NS, 0),)

    def test_a_time_without_prometheus(self) -> None:
        told = series(TEMP, every(40.0, until=40) | every(40.0, since=70), UUID="GPU-a")
        found = read(Given(told, alive=every(1.0, until=40) | every(1.0, since=70)), self.asked)
        assert (found.runs, found.active) == (None, None)
        assert "nothing of 25% of this time" in found.note


def test_settings_become_questions() -> None:
    settings = parse(
        """
version = 1
[upstreams.local]
base_urls = ["http://127.0.0.1:8000/v1"]
[models.small]
upstream = "local"
name = "meta-llama/Llama-3.1-8B"
[models.alias]
upstream = "local"
name = "meta-llama/Llama-3.1-8B"
[fleets.a]
gpu = "A100-80GB"
mig = "1g.10gb"
upstream = "local"
runs = "prometheus"
match = { Hostname = "gpu-1" }
""",
        {},
    )
    asked = question(settings, "a")
    assert asked.models == ("meta-llama/Llama-3.1-8B",)
    assert (asked.mig, asked.runs, asked.alone, asked.told_apart) == ("1g.10gb", True, True, True)
    assert selector([], {"a": 'x"y\\z'}) == '{__name__=~"",a="x\\"y\\\\z"}'


def test_reachable_says_what_is_there_and_what_is_not() -> None:
    text = """
version = 1
[telemetry]
prometheus = "http://127.0.0.1:9090"
[fleets.a]
gpu = "L4"
match = { Hostname = "a" }
[fleets.b]
gpu = "L4"
match = { Hostname = "b" }
metrics = { active = "nonsense(" }
[fleets.c]
gpu = "L4"
match = { Hostname = "c" }
"""
    settings = parse(text, {})
    told = Given(series(ACTIVE, every(0.5), Hostname="a"), series(POWER, every(99.0), Hostname="a"))
    told.raises = lambda promql: TelemetryError("parse error", "correct it", refused=True) if promql == "nonsense(" else None
    found, facts = reachable(told, settings, SINCE)
    assert facts == {"a": "active, power"}
    assert [(each.severity, each.where, each.text) for each in found] == [
        ("error", "fleets.b.metrics.active", "parse error"),
        ("warning", "fleets.c.match", "the Prometheus has no series of this fleet now"),
    ]
    told.raises = lambda _: TelemetryError("no answer", "start it")
    found, facts = reachable(told, settings, SINCE)
    assert [(each.severity, each.where, each.hint) for each in found] == [("error", "telemetry.prometheus", "start it")]
