"""The penstock.toml that `penstock init` writes: short, commented, and working."""

import json
from collections.abc import Sequence

_HEAD = """\
#:schema ./penstock.schema.json
# Every key, its meaning and its default: docs/reference/config.md. `penstock check` says what is wrong.
version = 1

[server]
listen   = "127.0.0.1:4100"
store    = "sqlite:///penstock.db"        # postgresql://... when several hosts share one ledger
journal  = "./journal"                    # written before a client sees the end of an answer
unpriced = "flag"                         # or "refuse"; a model without a price never counts as 0
"""

_TAIL = """
[tags]                                    # sent as headers: penstock-tag-team: search
required = []                             # e.g. ["team", "feature"]

[cache]
exact = { ttl = "24h", max_bytes = "64 MB" }   # replays answers to the very same request

# [[budgets]]                             # docs/howto/set-budgets.md
# name     = "everything"
# limit    = "50 USD / day"
# at_limit = "refuse"                     # a hard cap; or "alert", "queue", "downgrade"
# alert_at = [50, 80, 95, "forecast"]

# [auth]                                  # every call needs a key: penstock keys create --tag team=search
# required = true
"""

_SIMULATED = """\
baseline = "large"                        # "what would it have cost otherwise?" is answered with this tier

[upstreams.trial]                         # a simulated engine: it answers at once, with invented text
kind = "simulated"

# [upstreams.own]                         # a real one: vLLM, SGLang, llama.cpp, TGI, Ollama, or an API
# base_urls = ["http://127.0.0.1:8000/v1"]
# api_key   = { env = "UPSTREAM_API_KEY" }

[models.trial-small]
upstream   = "trial"
max_output = 2048
price      = { input = 0.05, output = 0.10 }   # USD per million tokens; invented

[models.trial-large]
upstream   = "trial"
max_output = 4096
price      = { input = 2.50, output = 10.00 }  # invented

[tiers]                                   # cheap to dear
small = { model = "trial-small" }
large = { model = "trial-large", complexity = "> 0.7" }

[routes.auto]                             # clients ask for model = "auto"
strategy = "by_complexity"
tiers    = ["small", "large"]
fallback = ["large"]
"""


def simulated() -> str:
    """A start without an upstream: two simulated models, two tiers, one route."""
    return _HEAD + _SIMULATED + _TAIL


def with_upstream(url: str, models: Sequence[str], key_variable: str | None) -> str:
    """A start with one OpenAI-compatible upstream (or Anthropic's own), the models it serves, and the variable that holds its key."""
    kind = ['kind      = "anthropic"                   # priced from the public price book'] if is_anthropic(url) else []
    lines = ["", "[upstreams.main]", *kind, f"base_urls = [{_quoted(url)}]"]
    if key_variable:
        lines.append(f"api_key   = {{ env = {_quoted(key_variable)} }}")
    if "//api.openai.com/" in url + "/":
        lines.append('provider  = "openai"                      # priced from the public price book')
    for name in models:
        lines += ["", f"[models.{_quoted(name)}]", 'upstream   = "main"']
        lines.append("max_output = 4096                         # bounds what is reserved when a client gives no max_tokens")
        lines.append("# price    = { input = 0.05, output = 0.10 }   # USD per million tokens, when no price book knows the model")
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def is_anthropic(url: str) -> bool:
    """Whether an address is Anthropic's own API."""
    return "//api.anthropic.com/" in url + "/"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
