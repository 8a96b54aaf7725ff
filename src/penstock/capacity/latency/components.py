"""The covariance of the residual: which rows are alike, in what, and how much.

Variances of logarithms, by marginal likelihood on the measured points (`python -m bench.latency_model --tune` prints what it finds), then
rounded and moved where the likelihood cannot know: few groups tell a benchmark (setup) from the models that only it measured, so that a
setup is given little, and a model under a version of an engine, which comes with its settings, much. Bands so that about 80 % of what
cross-validation leaves out lies within.
"""

from penstock.domain.sizing.latency.model import Band, Kind
from penstock.domain.sizing.latency.residual import Component

COMPONENTS: dict[Kind, tuple[Component, ...]] = {
    "tpot": (
        Component("level", ("model", "engine"), 0.01),
        Component("level", ("model", "format"), 0.008),
        Component("level", ("model", "engine", "generation"), 0.03),
        Component("level", ("version", "format"), 0.01),
        Component("level", ("model", "version", "format"), 0.05),
        Component("level", ("setup", "family"), 0.008),
        Component("level", ("setup", "engine"), 0.008),
        Component("level", ("model", "accelerator", "engine", "format", "setup", "version", "spread"), 0.0005),
        Component("smooth", ("family",), 0.005),
        Component("smooth", ("engine", "family"), 0.004),
        Component("smooth", ("model",), 0.003),
        Component("smooth", ("model", "engine", "generation"), 0.02),
        Component("smooth", ("model", "accelerator", "engine", "format", "setup", "version"), 0.002),
        Component("level", ("model", "accelerator", "engine", "format", "setup", "version"), 0.005),
    ),
    "ttft": (
        Component("level", ("family",), 0.002),
        Component("level", ("accelerator",), 0.003),
        Component("level", ("engine", "family"), 0.002),
        Component("level", ("model", "engine", "generation"), 0.1),
        Component("level", ("version", "format"), 0.01),
        Component("level", ("model", "version", "format"), 0.05),
        Component("level", ("setup", "engine"), 0.02),
        Component("level", ("accelerator", "engine"), 0.04),
        Component("level", ("model", "accelerator", "engine", "format", "setup", "version"), 0.02),
        Component("smooth", ("family",), 0.05),
        Component("smooth", ("engine", "family"), 0.01),
        Component("smooth", ("model",), 0.05),
        Component("smooth", ("model", "engine"), 0.05),
        Component("smooth", ("model", "engine", "generation"), 0.05),
        Component("smooth", ("setup", "engine", "family"), 0.1),
    ),
}
NOISE: dict[Kind, float] = {"tpot": 0.0015, "ttft": 0.029}
BANDS: dict[Kind, Band] = {"tpot": Band(0.64, 0.76, 0.4), "ttft": Band(0.6, 0.88, 0.7)}
