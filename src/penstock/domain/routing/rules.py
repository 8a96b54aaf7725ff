"""Hard rules: which upstreams may see a request, by its tags.

A rule matches when the request carries every tag that the rule names, with exactly that value. A request that lacks one of them is
not matched: whoever relies on a tag also lists it in `tags.required`, or binds it to the key. Rules that match together leave only
the upstreams that all of them name, possibly none.
"""

from collections.abc import Mapping, Sequence

import msgspec

from penstock.domain.dialects.content import normal_tag


class RuleLaw(msgspec.Struct, frozen=True):
    """Requests with all of these tags may reach only these upstreams."""

    where: Mapping[str, str]
    only: Sequence[str]


class RuleBook:
    """The rules, indexed by one tag of each, so that a request which no rule matches pays a look-up per tag that rules name."""

    __slots__ = ("_always", "_by_tag")

    def __init__(self, rules: Sequence[RuleLaw]) -> None:
        by_tag: dict[str, dict[str, list[tuple[dict[str, str], frozenset[str]]]]] = {}
        always: frozenset[str] | None = None
        for rule in rules:
            only = frozenset(rule.only)
            where = {normal_tag(name): value for name, value in rule.where.items()}
            if not where:
                always = only if always is None else always & only
                continue
            tag, value = next(iter(where.items()))
            by_tag.setdefault(tag, {}).setdefault(value, []).append((where, only))
        self._by_tag = tuple(by_tag.items())
        self._always = always

    def allowed(self, tags: Mapping[str, str], upstreams: frozenset[str] | None = None) -> frozenset[str] | None:
        """The upstreams that may see a request with these (normalised) tags; None when no rule speaks, so any may.

        With `upstreams`, what is returned is within them.
        """
        allowed = self._always
        for tag, by_value in self._by_tag:
            value = tags.get(tag)
            if value is None:
                continue
            for where, only in by_value.get(value, ()):
                if len(where) == 1 or all(tags.get(name) == wanted for name, wanted in where.items()):
                    allowed = only if allowed is None else allowed & only
        return allowed if allowed is None or upstreams is None else allowed & upstreams
