"""At which endpoints an upstream answers by itself, as configured and as learned while calling it."""

from collections.abc import Mapping

from penstock.config.settings import Upstream

NAMES = {"chat": "chat.completions", "responses": "responses", "messages": "messages"}
"""the words of the config, and the endpoints that they stand for"""
ALL = tuple(NAMES)
UNTRANSLATED = frozenset({"completions", "embeddings"})
"""endpoints that no other one can stand for; every upstream but Anthropic's is taken to have them"""
UNKNOWN_ADDRESS = frozenset({404, 405, 501})
"""statuses by which an upstream may mean that it has no such endpoint"""
_SUBSTITUTES = {
    "chat.completions": ("messages", "responses"),
    "responses": ("chat.completions", "messages"),
    "messages": ("chat.completions", "responses"),
}


class Speech:
    """What each upstream speaks. An OpenAI-compatible one is taken to speak Responses until it says that it does not."""

    def __init__(self, upstreams: Mapping[str, Upstream]) -> None:
        self._known = {name: _endpoints(upstream) for name, upstream in upstreams.items()}
        self._logprobs = {name for name, upstream in upstreams.items() if upstream.kind != "anthropic"}
        self._no_logprobs: set[tuple[str, str]] = set()
        self._tried = {name for name, upstream in upstreams.items() if upstream.kind == "openai" and upstream.speaks == "auto"}

    def endpoint(self, upstream: str, asked: str) -> str | None:
        """The endpoint at which a call to `asked` reaches this upstream; None when it cannot answer such a call at all.

        A path that is passed through is asked for as it is.
        """
        if asked in self._known[upstream] or asked.startswith("/") or self.unsure(upstream, asked):
            return asked
        return self.substitute(upstream, asked)

    def likely(self, upstream: str, path: str) -> bool:
        """Whether an upstream should know a path that is passed through: one below an endpoint that it has, or any other one."""
        asked = next((word for word in ("messages", "responses") if path.startswith(f"/v1/{word}/")), None)
        return asked is None or asked in self._known[upstream] or self.unsure(upstream, asked)

    def unsure(self, upstream: str, asked: str) -> bool:
        """Whether the upstream is only taken to have that endpoint."""
        return asked == "responses" and upstream in self._tried

    def substitute(self, upstream: str, asked: str) -> str | None:
        """Another endpoint that the upstream surely has, and into whose dialect the call can be translated."""
        return next((other for other in _SUBSTITUTES.get(asked, ()) if other in self._known[upstream]), None)

    def lacks_responses(self, upstream: str) -> None:
        """Remembers what an upstream has said by its statuses."""
        self._tried.discard(upstream)

    def tells_logprobs(self, upstream: str, model: str) -> bool:
        """Whether a model may be asked for the probabilities of its tokens: it has not refused that yet."""
        return upstream in self._logprobs and (upstream, model) not in self._no_logprobs

    def refuses_logprobs(self, upstream: str, model: str) -> None:
        """Remembers that a model refuses calls that ask for them."""
        self._no_logprobs.add((upstream, model))

    def forgives_logprobs(self, upstream: str, model: str) -> None:
        """Forgets it again: the call was refused for something else."""
        self._no_logprobs.discard((upstream, model))


def _endpoints(upstream: Upstream) -> frozenset[str]:
    spoken = upstream.speaks if upstream.speaks != "auto" else _of_kind(upstream)
    return frozenset(NAMES[word] for word in spoken) | (frozenset() if upstream.kind == "anthropic" else UNTRANSLATED)


def _of_kind(upstream: Upstream) -> tuple[str, ...]:
    match upstream.kind:
        case "anthropic":
            return ("messages",)
        case "simulated":
            return tuple(upstream.simulated.get("speaks", ALL))
    return ("chat",)
