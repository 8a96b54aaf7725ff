"""Who asks, and for what: key -> tags, body -> target, rules -> upstreams that may see it."""

from difflib import get_close_matches
from typing import Any

import orjson

from penstock.domain.dialects.content import MAX_TAG_VALUE, allowed_value, sla_of, tags_from_metadata
from penstock.gateway.exchange import MODEL_ENDPOINTS, Exchange
from penstock.gateway.gateway import Gateway
from penstock.gateway.heads import SECRET_PREFIX
from penstock.gateway.mixing import check_dialect
from penstock.gateway.refusal import Refusal
from penstock.ports.key_store import ApiKey

MAX_TAGS = 32
MAX_TAG_NAME = 64
DERIVED = ("model", "model_version", "optimization", "tier", "upstream", "fleet")
"""what the config says of every request: no client need send them, even where they are required"""


async def identify(gateway: Gateway, x: Exchange) -> bool:
    """Fills tags, key, target and permitted upstreams. Raises `Refusal` (input, auth, rule)."""
    key = await authenticate(gateway, x.heads.secret, x.admitted_ns)
    if key is not None:
        x.key, x.key_id = key, key.id
    x.body = body = _parse(x)
    x.tags = _tags(x, body, key)
    _check_tags(gateway, x.tags)
    x.permitted = gateway.rules.allowed(x.tags, gateway.upstreams.names)
    x.scope = _scope(gateway, x.tags, key)
    x.sla = x.tags.get("sla")
    x.tenant = _tenant(x.tags, key)
    if body is not None:
        check_dialect(x.endpoint, body)
        x.streamed = body.get("stream") is True
        options = body.get("stream_options")
        x.wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        _find_target(gateway, x, body, key)
        if x.target is not None and x.target.route is not None and x.sla in x.target.route.sla:
            x.heads.variants += ("sla", x.sla)  # another class may be answered by other tiers
        if x.target is not None:
            x.heads.variants += tuple(f"{tag}={x.tags.get(tag, '')}" for tag in x.target.told_apart)
    if key is not None:
        _restrict(x, key)
    return False


def _restrict(x: Exchange, key: ApiKey) -> None:
    """Keeps a key to its tiers, and one for certain models or tiers to calls that name a model. Raises `Refusal` (auth)."""
    if x.target is None and (key.models or key.tiers):
        kind, names = ("models", key.models) if key.models else ("tiers", key.tiers)
        raise Refusal(403, "auth", f"this key is for certain {kind} only, and this call names no model", f"It may use: {', '.join(names)}")
    if key.tiers and x.target is not None:
        x.tiers = frozenset(key.tiers)
        if not any(candidate.tier in x.tiers for candidate in x.target.candidates):
            told = f"this key may not use `{x.target.name}`: it is for certain tiers only"
            raise Refusal(403, "auth", told, f"It may use the tiers: {', '.join(key.tiers)}", param="model")


async def authenticate(gateway: Gateway, secret: bytes | None, now_ns: int) -> ApiKey | None:
    """The key with this secret; None where none is needed. Raises `Refusal` (auth)."""
    if secret is None:
        if gateway.settings.auth.required:
            raise Refusal(
                401, "auth", "no API key was given", "Send `Authorization: Bearer psk_...` with a key made by `penstock keys create`"
            )
        return None
    if not gateway.settings.auth.required and not secret.startswith(SECRET_PREFIX):
        return None  # some other system's key, as every SDK sends one
    key = await gateway.keys.find(secret, now_ns)
    if key is None:
        raise Refusal(
            401, "auth", "this API key is unknown, expired or revoked", "Make one with `penstock keys create`", code="invalid_api_key"
        )
    return key


def _parse(x: Exchange) -> dict[str, Any] | None:
    """The JSON body; None for what is passed through without one."""
    passed_through = x.endpoint not in MODEL_ENDPOINTS
    if passed_through and not x.request.body[:64].lstrip().startswith(b"{"):
        return None
    try:
        body = orjson.loads(x.request.body)
    except orjson.JSONDecodeError as error:
        if passed_through and b"json" not in (x.request.header(b"content-type") or b"").lower():
            return None
        encoding = (x.request.header(b"content-encoding") or b"identity").decode("latin-1")
        if encoding.lower() != "identity":
            raise Refusal(415, "input", f"bodies in content-encoding `{encoding[:40]}` are not read", "Send the JSON as it is") from None
        raise Refusal(400, "input", f"the body is not valid JSON: {error}", "Send a JSON object in UTF-8") from None
    if not isinstance(body, dict):
        raise Refusal(400, "input", "the body must be a JSON object", 'It starts with `{"model": ...`')
    return body


def _tags(x: Exchange, body: dict[str, Any] | None, key: ApiKey | None) -> dict[str, str]:
    by_header = x.heads.tags
    tags: dict[str, str] = {}
    if body is not None:
        tags = tags_from_metadata(body)
        if x.endpoint == "messages" and "user_id" in tags:
            tags["user"] = tags.pop("user_id")  # Anthropic's word for OpenAI's `user`
        if "sla" not in tags and (sla := sla_of(body)) is not None:
            tags["sla"] = sla
    if by_header is not None:
        tags.update(by_header)
    if key is not None and key.tags:
        tags.update(key.tags)
    return tags


def _check_tags(gateway: Gateway, tags: dict[str, str]) -> None:
    """Values are kept as `[tags] allowed` spells them. Raises `Refusal`."""
    settings = gateway.settings.tags
    if len(tags) > MAX_TAGS:
        raise Refusal(400, "input", f"{len(tags)} tags were given, at most {MAX_TAGS} are kept", "Send fewer metadata fields")
    for name, value in tags.items():
        if not name or len(name) > MAX_TAG_NAME or len(value) > MAX_TAG_VALUE:
            raise Refusal(
                400,
                "input",
                f"tag `{name[:MAX_TAG_NAME]}` is too long" if name else "a tag has no name",
                f"Names hold up to {MAX_TAG_NAME}, values {MAX_TAG_VALUE} characters",
            )
    missing = [name for name in settings.required if not tags.get(name) and name not in DERIVED]
    if missing:
        raise Refusal(
            400,
            "input",
            f"required tags are missing: {', '.join(missing)}",
            f"Send the header `penstock-tag-{missing[0]}: ...`",
            code="missing_tag",
        )
    for name, allowed in settings.allowed.items():
        if name not in tags:
            continue
        value = tags[name]
        if (kept := allowed_value(value, allowed)) is not None:
            tags[name] = kept
        else:
            near = get_close_matches(value, allowed, 1)
            raise Refusal(
                400,
                "input",
                f"tag {name} = `{value}` is not allowed here",
                f"Did you mean `{near[0]}`?" if near else f"Allowed: {', '.join(allowed)}",
                code="tag_not_allowed",
            )


def _scope(gateway: Gateway, tags: dict[str, str], key: ApiKey | None) -> tuple[str, ...]:
    """The partition of the cache. The tenant comes from the key alone: a client cannot name itself into another's partition."""
    parts = []
    for name in gateway.settings.cache.scope:
        if name != "tenant":
            parts.append(f"{name}={tags.get(name, '')}")
        else:
            parts.append("keyless" if key is None else _holder(key))
    return tuple(parts)


def _tenant(tags: dict[str, str], key: ApiKey | None) -> str:
    """Who takes turns with others where there is a queue. A team is only what a caller without a key says of itself."""
    if key is not None:
        return _holder(key)
    return f"team={tags['team']}" if "team" in tags else "keyless"


def _holder(key: ApiKey) -> str:
    """Who a key belongs to: also where it was made in the place of another one."""
    return f"tenant={key.tags['tenant']}" if "tenant" in key.tags else f"key={key.account}"


def _find_target(gateway: Gateway, x: Exchange, body: dict[str, Any], key: ApiKey | None) -> None:
    name = body.get("model")
    if not isinstance(name, str):
        if x.endpoint in MODEL_ENDPOINTS:
            wrong = "is missing" if name is None else "must be a string"
            raise Refusal(400, "input", f"`model` {wrong}", f"Ask for one of: {', '.join(gateway.targets.names())}", param="model")
        return
    x.asked_for = name[:200]
    if key is not None and key.models and name not in key.models:
        raise Refusal(403, "auth", f"this key may not use the model `{name}`", f"It may use: {', '.join(key.models)}", param="model")
    x.target = gateway.targets.find(name)
    if x.target is None:
        near = gateway.targets.nearest(name) or gateway.targets.names()[:5]
        listed = ", ".join(f"`{n}`" for n in near)
        raise Refusal(
            404, "input", f"there is no model `{name[:200]}` here", f"Did you mean {listed}?", code="model_not_found", param="model"
        )
