"""ServeGen (github.com/alibaba/ServeGen, Apache-2.0): requests sampled from what it publishes, and tables of its rates."""

from penstock.capacity.traces.formats import Format

FORMAT = Format(
    word="servegen",
    name="ServeGen sample",
    marks=frozenset({"arrivals", "inputtokens", "outputtokens", "client"}),
    arrival=("arrivals",),
    input=("inputtokens",),
    output=("outputtokens",),
    unit="s",
    pooled=("sizespooled",),
)
RATES = Format(
    word="rates",
    name="table of rates",
    marks=frozenset({"windowstarts", "raterps"}),
    arrival=("windowstarts",),
    input=("raterps",),
    output=(),
    means=("meaninputtokens", "meanoutputtokens"),
    unit="s",
    table=True,
)
