"""Which line of the ledger a charge belongs to: by model, provider, instance type and region, whatever way the bill spells them."""

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from penstock.domain.bills.focus import FocusRow

Kind = Literal["api", "fleet", "other"]

PROVIDERS: dict[str, tuple[str, ...]] = {
    "openai": ("openai", "open ai"),
    "azure": ("microsoft", "azure"),
    "aws": ("aws", "amazon", "bedrock"),
    "google": ("google", "gcp", "vertex", "gemini"),
    "anthropic": ("anthropic",),
    "mistral": ("mistral",),
    "groq": ("groq",),
    "deepseek": ("deepseek",),
    "cohere": ("cohere",),
    "together": ("together",),
    "fireworks": ("fireworks",),
    "openrouter": ("openrouter",),
    "x-ai": ("x.ai", "xai"),
}
"""a provider of the price book -> words by which bills name it"""
CLOUDS = ("azure", "aws", "google")
"""providers of which most charges have nothing to do with models"""
VARIANTS = frozenset(
    "mini nano turbo pro lite flash haiku sonnet opus audio realtime search transcribe tts instruct vision max small medium large xl codex "
    "image embedding guard coder chat omni plus ultra distill deep research".split()
)
"""words that make another model of a name"""
GENERIC = VARIANTS | frozenset("default auto main fast cheap best model big base local remote test new old prod standard premium".split())
"""names of one such word say nothing in a sentence; where a bill has a place for the model, they do"""

_WORDS = re.compile(r"[a-z0-9]+(?:\.[0-9]+)*")
_MAKERS = frozenset(
    "openai anthropic meta llama mistral amazon google cohere deepseek ai21 us eu apac jp au ca global azure ml models".split()
)
_RELEASE = re.compile(r"(20\d{2}|[0-3]?\d|\d{4}|20\d{6}|v\d+|latest|preview|exp|[01]|global|regional)")
_AI = re.compile(
    r"openai|bedrock|anthropic|claude|vertex|gemini|generative|cognitive|foundry|sagemaker|machine learning|\bai\b|inference|llm",
    re.IGNORECASE,
)
_GPU_INSTANCE = re.compile(
    r"\b(p[2-6](e|d|en|de)?|g[4-7](e|dn|ad|gr?|f)?|trn\d\w*|inf\d\w*)\.(\d*x?large|metal)|standard_n[cdvp]\w+|\b(a[2-4]|g[24])-\w+-\w+"
    r"|\b(h100|h200|b200|b300|gb200|a100|l40s?|l4|v100|t4|mi300x|rtx)\b",
    re.IGNORECASE,
)


class Subject(msgspec.Struct, frozen=True):
    """What the ledger can compare: a model of an upstream, own fleets of one instance type and region, or a cost of the config."""

    kind: Kind
    service: str
    model: str | None
    names: tuple[str, ...]
    """other names of it: what the upstream calls the model, instance types, names of services"""
    provider: str | None = None
    region: str | None = None


def words(text: str) -> tuple[str, ...]:
    """A text in its words: `gpt-4o-2024-08-06` -> gpt, 4o, 2024, 08, 06; `claude-3.5` -> claude, 3.5."""
    return tuple(_WORDS.findall(text.lower()))


def spellings(name: str) -> set[tuple[str, ...]]:
    """The name of a model in its words, without its maker before a slash; versions as `3.5` and as `3-5`."""
    own = words(name.rpartition("/")[2])
    dotted = tuple(_WORDS.findall(re.sub(r"(?<![\w.])(\d) (\d)(?![\w.])", r"\1.\2", " ".join(own))))
    return {own, dotted, tuple(part for word in own for part in word.split("."))} - {()}


def provider_of(text: str | None) -> str | None:
    """The provider that a name on a bill stands for; None for one that we do not know."""
    if not text:
        return None
    lowered = text.lower()
    return next((name for name, signs in PROVIDERS.items() if any(sign in lowered for sign in signs)), None)


def is_ai(row: FocusRow) -> bool:
    """Whether a charge is for models, or for GPUs: what the ledger should know of."""
    if row.service_category == "AI and Machine Learning":
        return True
    texts = (row.service_name, row.sku_meter, row.charge_description)
    return any(text and (_AI.search(text) or _GPU_INSTANCE.search(text)) for text in texts) or bool(
        _GPU_INSTANCE.search(str((row.sku_price_details or {}).get("InstanceType", "")))
    )


class Matcher:
    """Subjects, and which of them a charge belongs to."""

    def __init__(self, subjects: Iterable[Subject]) -> None:
        self._models: list[tuple[tuple[str, ...], Subject]] = []
        self._fleets: list[Subject] = []
        self._others: dict[str, Subject] = {}
        self._providers: set[str | None] = set()
        self._known: dict[tuple[str | None, ...], Subject | None] = {}
        for subject in subjects:
            match subject.kind:
                case "api":
                    self._providers.add(provider_of(subject.provider))
                    self._models += [(spelling, subject) for name in subject.names for spelling in sorted(spellings(name))]
                case "fleet":
                    self._fleets.append(subject)
                case "other":
                    self._others |= {name.lower(): subject for name in subject.names}
        self._models.sort(key=lambda pair: -len(pair[0]))

    def subject_of(self, row: FocusRow) -> Subject | None:
        """None: nothing in the ledger answers to this charge. Charges that are named alike are looked at once."""
        named = model_named(row)
        details = row.sku_price_details or {}
        key = (
            row.provider, row.service_name, named, row.sku_meter, row.charge_description, row.sku_id, row.region_id,
            str(details.get("InstanceType") or ""), (row.x or {}).get("x_MachineSpec"), row.resource_name if named is None else None,
        )  # fmt: skip
        if key not in self._known:
            if len(self._known) > 50_000:
                self._known.clear()
            self._known[key] = self._find(row, named, [text for text in key[3:] if text])
        return self._known[key]

    def bills(self, provider: str | None) -> bool:
        """Whether that provider is one of ours and bills for nothing but models."""
        return provider is not None and provider not in CLOUDS and provider in self._providers

    @staticmethod
    def named(row: FocusRow) -> str | None:
        """The model that a charge names, known or not."""
        return model_named(row)

    def _find(self, row: FocusRow, named: str | None, texts: Sequence[str]) -> Subject | None:
        fleet = self._fleet(row, texts)
        if fleet is not None:
            return fleet
        other = self._others.get((row.service_name or "").lower())
        if other is not None:
            return other
        if named is not None:
            return self._model(row, [named], whole=True)
        return self._model(row, [row.sku_meter or "", row.charge_description or "", row.resource_name or "", row.sku_id or ""], whole=False)

    def _model(self, row: FocusRow, texts: Sequence[str], *, whole: bool) -> Subject | None:
        billed_by = provider_of(row.provider) or provider_of(row.service_name)
        found: list[Subject] = []
        length = 0
        for text in texts:
            spoken = words(text)
            for name, subject in self._models:
                if not whole and len(name) == 1 and (name[0] in GENERIC or len(name[0]) < 4):
                    continue
                if len(name) >= length and says(spoken, name, whole=whole) and not _conflict(subject, billed_by):
                    found = [*found, subject] if len(name) == length else [subject]
                    length = len(name)
        of_provider = [subject for subject in found if billed_by is not None and provider_of(subject.provider) == billed_by]
        distinct = list(dict.fromkeys(of_provider or found))
        return distinct[0] if len(distinct) == 1 else None

    def _fleet(self, row: FocusRow, texts: Sequence[str]) -> Subject | None:
        lowered = [text.lower() for text in texts]
        found = [
            subject
            for subject in self._fleets
            if (subject.region is None or row.region_id is None or _place(subject.region) == _place(row.region_id))
            and any(_holds(text, name.lower()) for name in subject.names for text in lowered)
        ]
        return found[0] if len(found) == 1 else None


def model_named(row: FocusRow) -> str | None:
    """The model where the bill has a place for it: SkuPriceDetails ModelId, or a custom column of that name."""
    details = row.sku_price_details or {}
    for key in ("ModelId", "x_ModelId", "Model", "x_Model"):
        if isinstance(value := details.get(key), str):
            return value
    for name, value in (row.x or {}).items():
        if name.lower() in ("x_model", "x_modelid", "x_model_id", "x_modelname", "x_model_name"):
            return value
    return None


def says(spoken: Sequence[str], name: Sequence[str], *, whole: bool) -> bool:
    """Whether words name a model: its own words one after another, then no word that would make another model of it.

    `whole`: nothing but the name and a release (`2024-08-06`, `v2`, `latest`) may stand there.
    """
    size = len(name)
    for at in range(len(spoken) - size + 1):
        if tuple(spoken[at : at + size]) != tuple(name):
            continue
        after = spoken[at + size :]
        if whole:
            if all(word in _MAKERS for word in spoken[:at]) and all(_RELEASE.fullmatch(word) for word in after):
                return True
        elif not after or (after[0] not in VARIANTS and not re.fullmatch(r"\d+b", after[0])):
            return True
    return False


def _conflict(subject: Subject, billed_by: str | None) -> bool:
    own = provider_of(subject.provider)
    return own is not None and billed_by is not None and own != billed_by


def cloud_of(instance: str) -> str | None:
    """The cloud that names its instances so; None where the name does not tell."""
    name = instance.lower()
    if re.fullmatch(r"[a-z]+\d\w*(-\w+)?\.(\d*x?large|metal[\w-]*|micro|small|medium|nano)", name):
        return "aws"
    if name.startswith("standard_"):
        return "azure"
    return "google" if re.fullmatch(r"[a-z]\d\w?-\w+-\w+", name) else None


def gpus_of(instance: str) -> int | None:
    """GPUs of an instance type by its name, as AWS, Azure and Google name them (2026-11); None for one that we do not know."""
    name = instance.lower()
    if match := re.search(r"-(\d+)g\b", name):  # a3-highgpu-8g
        return int(match[1])
    if re.match(r"(standard_)?nd(96|128)", name) or re.match(r"p(4|4d|4de|5|5e|5en|6-b200|6-b300)\.(24|48)xlarge", name):
        return 8
    if match := re.match(r"(standard_)?nc(\d+)ad(?:is|s)_(a100|h100)", name):
        return max(1, int(match[2]) // (24 if match[3] == "a100" else 40))
    if match := re.match(r"p3(?:dn)?\.(\d+)xlarge", name):
        return {2: 1, 8: 4}.get(int(match[1]), 8)
    if match := re.match(r"g4dn\.(\d*)xlarge", name):
        return 4 if match[1] == "12" else 1
    if match := re.fullmatch(r"g2-standard-(\d+)", name):
        return {24: 2, 48: 4, 96: 8}.get(int(match[1]), 1)
    if match := re.match(r"g(5|6|6e|6f|7e)\.(\d*)xlarge", name):
        size = int(match[2] or 1)
        return {12: 4, 24: 4, 48: 8}.get(size, 1) if match[1] != "7e" else {12: 2, 24: 4, 48: 8}.get(size, 1)
    return None


def gpus_held(row: FocusRow, instance: str) -> Decimal | None:
    """GPUs of the instance that a charge is for, as the bill (SkuPriceDetails GpuCount) or the instance's name tells; None: unknown."""
    told = str((row.sku_price_details or {}).get("GpuCount", ""))
    if re.fullmatch(r"[1-9]\d{0,3}(\.0+)?", told):
        return Decimal(told)
    known = gpus_of(instance)
    return None if known is None else Decimal(known)


def _place(region: str) -> str:
    return re.sub(r"[^a-z0-9]", "", region.lower())


def _holds(text: str, name: str) -> bool:
    """Whether an instance type (or GPU) stands in a text as a word of its own: `BoxUsage:g6e.xlarge` holds `g6e.xlarge`."""
    at = text.find(name)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(name) : at + len(name) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = text.find(name, at + 1)
    return False
