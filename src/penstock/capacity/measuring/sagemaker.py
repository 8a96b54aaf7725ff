"""Results of SageMaker Inference Recommender: what `aws sagemaker describe-inference-recommendations-job` prints.

`list-inference-recommendations-job-steps` is read too: it holds every benchmark, not only the ten best. Shapes: botocore 1.44.5,
sagemaker/2017-07-24, DescribeInferenceRecommendationsJobResponse and ListInferenceRecommendationsJobStepsResponse. `MaxInvocations`
is requests per minute; `ModelLatency` is microseconds of a whole answer at that rate, as the CloudWatch metric of that name (AWS's
guide, "Get your inference recommendation job results": 263,596 at 648 a minute on ml.c5.large); NaN is "not available".
"""

import math
import re
from fractions import Fraction

import msgspec

from penstock.capacity.measuring.sample import MeasureError
from penstock.domain.sizing.costs import per_request

_NAN = re.compile(rb'(?<=[:\[,\s])(?:"NaN"|NaN)(?=[,\s}\]])')
HINT = "save what `aws sagemaker describe-inference-recommendations-job --job-name NAME` prints"
_MICRO = 1000.0


class SageMakerResult(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark: an instance type (or an endpoint of the user's) at the most requests a minute that it took."""

    instance: str | None
    """`ml.g5.xlarge`; None: an existing endpoint, or a serverless one"""
    instances: int
    endpoint: str | None
    invocations_per_minute: int
    latency_ms: float
    """of whole answers at that rate"""
    usd_per_hour: Fraction | None
    """as reported, of all instances"""
    cpu_percent: float | None = None
    memory_percent: float | None = None
    environment: dict[str, str] = {}

    @property
    def usd_per_request(self) -> Fraction | None:
        """At that rate; None: unknown. Agrees with the report's `CostPerInference`, which is rounded to single precision."""
        return per_request(self.usd_per_hour, self.invocations_per_minute)


class SageMakerJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job and what it found."""

    name: str
    status: str
    percentile: str | None
    """of the latency limit that the job had: `P95`"""
    limit_ms: float | None
    results: tuple[SageMakerResult, ...]
    failed: tuple[str, ...] = ()
    """why benchmarks gave no result"""


class _Metrics(msgspec.Struct, frozen=True, rename="pascal"):
    max_invocations: int | None = None
    model_latency: float | None = None
    cost_per_hour: float | None = None
    cpu_utilization: float | None = None
    memory_utilization: float | None = None


class _Instance(msgspec.Struct, frozen=True, rename="pascal"):
    endpoint_name: str | None = None
    instance_type: str | None = None
    initial_instance_count: int | None = None


class _Variable(msgspec.Struct, frozen=True, rename="pascal"):
    key: str
    value: str


class _Model(msgspec.Struct, frozen=True, rename="pascal"):
    environment_parameters: list[_Variable] | None = None


class _Found(msgspec.Struct, frozen=True, rename="pascal"):
    metrics: _Metrics | None = None
    endpoint_metrics: _Metrics | None = None
    endpoint_configuration: _Instance = _Instance()
    model_configuration: _Model = _Model()
    failure_reason: str | None = None


class _Performance(msgspec.Struct, frozen=True, rename="pascal"):
    metrics: _Metrics
    endpoint_info: _Instance


class _Threshold(msgspec.Struct, frozen=True, rename="pascal"):
    percentile: str | None = None
    value_in_milliseconds: float | None = None


class _Stopping(msgspec.Struct, frozen=True, rename="pascal"):
    model_latency_thresholds: list[_Threshold] | None = None


class _Step(msgspec.Struct, frozen=True, rename="pascal"):
    job_name: str
    status: str
    inference_benchmark: _Found | None = None


class _Job(msgspec.Struct, frozen=True, rename="pascal"):
    job_name: str = ""
    status: str = ""
    failure_reason: str | None = None
    stopping_conditions: _Stopping | None = None
    inference_recommendations: list[_Found] | None = None
    endpoint_performances: list[_Performance] | None = None
    steps: list[_Step] | None = None


def is_sagemaker(content: bytes) -> bool:
    """Whether a file looks like a job's results."""
    return any(name in content for name in (b'"InferenceRecommendations"', b'"EndpointPerformances"', b'"InferenceBenchmark"', b'"JobArn"'))


def read_sagemaker(content: bytes, name: str) -> SageMakerJob:
    """The results of a job. Raises `MeasureError` when they are none, or when the job has found nothing."""
    try:
        told = msgspec.convert(msgspec.json.decode(_NAN.sub(b"null", content)), _Job, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise MeasureError(f"{name}: no results of SageMaker Inference Recommender: {problem}", HINT) from None
    found = [*(told.inference_recommendations or ()), *(each for step in told.steps or () if (each := step.inference_benchmark))]
    found += [_Found(metrics=each.metrics, endpoint_configuration=each.endpoint_info) for each in told.endpoint_performances or ()]
    results = [result for each in found if (result := _result(each)) is not None]
    failed = [reason for each in found if (reason := each.failure_reason)] + ([told.failure_reason] if told.failure_reason else [])
    if not results:
        status = f" (job {told.job_name}: {told.status})" if told.job_name else ""
        raise MeasureError(f"{name}: it holds no benchmark{status}{': ' + '; '.join(failed) if failed else ''}", HINT)
    limits = (told.stopping_conditions.model_latency_thresholds if told.stopping_conditions else None) or [_Threshold()]
    job, status = (told.steps[0].job_name, told.steps[0].status) if told.steps else (told.job_name, told.status)
    return SageMakerJob(
        name=told.job_name or job,
        status=told.status or status,
        percentile=limits[0].percentile,
        limit_ms=limits[0].value_in_milliseconds,
        results=tuple(results),
        failed=tuple(failed),
    )


def _result(found: _Found) -> SageMakerResult | None:
    metrics = found.metrics or found.endpoint_metrics
    if metrics is None or (metrics.max_invocations or 0) < 1 or not math.isfinite(metrics.model_latency or math.nan):
        return None  # it served nothing that was fast enough, or nothing is told of it
    assert metrics.max_invocations is not None and metrics.model_latency is not None
    if metrics.model_latency <= 0:
        return None
    shape, given = found.endpoint_configuration, found.model_configuration.environment_parameters or ()
    return SageMakerResult(
        instance=shape.instance_type,
        instances=shape.initial_instance_count or 1,
        endpoint=shape.endpoint_name,
        invocations_per_minute=metrics.max_invocations,
        latency_ms=metrics.model_latency / _MICRO,
        usd_per_hour=_price(metrics.cost_per_hour),
        cpu_percent=_known(metrics.cpu_utilization),
        memory_percent=_known(metrics.memory_utilization),
        environment={each.key: each.value for each in given},
    )


def _price(usd: float | None) -> Fraction | None:
    """A price as it was before single precision blurred it: 0.20399999618530273 is 0.204."""
    if usd is None or not math.isfinite(usd) or usd <= 0:
        return None
    return Fraction(f"{usd:.6g}")


def _known(share: float | None) -> float | None:
    return None if share is None or not math.isfinite(share) else share
