"""BurstGPT (github.com/HPMLL/BurstGPT, CC-BY 4.0): seconds and the lengths of prompts and answers; a failure has an answer of 0 tokens."""

from penstock.capacity.traces.formats import Format

FORMAT = Format(
    word="burstgpt",
    name="BurstGPT trace",
    marks=frozenset({"timestamp", "requesttokens", "responsetokens"}),
    arrival=("timestamp",),
    input=("requesttokens",),
    output=("responsetokens",),
    unit="s",
    failed="failures",
)
