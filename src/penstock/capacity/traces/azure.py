"""Azure's LLM inference traces of 2023 and 2024 (github.com/Azure/AzurePublicDataset, CC-BY 4.0): instants and two lengths."""

from penstock.capacity.traces.formats import Format

FORMAT = Format(
    word="azure",
    name="Azure LLM inference trace",
    marks=frozenset({"timestamp", "contexttokens", "generatedtokens"}),
    arrival=("timestamp",),
    input=("contexttokens",),
    output=("generatedtokens",),
)
