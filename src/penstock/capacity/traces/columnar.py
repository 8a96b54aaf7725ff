"""Files of one's own, CSV, Parquet or JSON lines, with columns of the usual names; Vidur's processed traces are such files too."""

from penstock.capacity.traces.formats import Format

FORMAT = Format(
    word="plain",
    name="plain trace",
    marks=frozenset(),
    arrival=(
        "arrivals", "arrivalms", "arrivalus", "arrivalns", "arrivaltime", "arrivaltimes", "arrivaltimems", "arrivedat", "arrival",
        "timestamps", "timestampms", "timestampus", "timestampns", "timestamp", "times", "timems", "timeus", "timens", "time", "ts",
        "startedat", "starttime", "createdat", "requesttime", "date", "datetime",
    ),
    input=(
        "inputtokens", "prompttokens", "numprefilltokens", "contexttokens", "inputlength", "promptlength", "inputlen", "promptlen",
        "requesttokens", "usageprompttokens", "usageinputtokens",
    ),
    output=(
        "outputtokens", "completiontokens", "numdecodetokens", "generatedtokens", "outputlength", "outputlen", "completionlength",
        "responsetokens", "usagecompletiontokens", "usageoutputtokens",
    ),
    blocks=("prefixblocks", "hashids"),
)  # fmt: skip
