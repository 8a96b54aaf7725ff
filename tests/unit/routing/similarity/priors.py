"""Small priors of one tree, for tests of the law and not of what was fitted."""

from penstock.domain.routing.similarity.features import NAMES
from penstock.domain.routing.similarity.judge import EXTRA, WIDTH, Prior, Trees


def prior(same: float = 2.0, other: float = -2.0, spread: float = 0.3) -> Prior:
    """`same`: log-odds where the content words are the same; `other`: where they are not."""
    trees = Trees(
        base=0.0, depth=1, roots=(0,), feature=(NAMES.index("same_words"), 0, 0), cut=(0.5, 0.0, 0.0), left=(1, 1, 2), right=(2, 1, 2),
        value=(0.0, other, same),
    )  # fmt: skip
    weights = [0.0] * WIDTH
    weights[EXTRA.index("trees")] = 1.0
    return Prior(NAMES, trees, tuple(weights), (spread,) * WIDTH)
