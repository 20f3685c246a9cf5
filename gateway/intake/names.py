"""Which model and policy a request means: `deepseek/deepseek-v3.2:nitro`, `deepseek-reasoner`, `x-gateway-policy`.

NAME[:POLICY ...]        a model under a policy            NAME@preset/POLICY   OpenRouter's way to say the same
@preset/POLICY           the first model under it          "preset": "POLICY"   where the model's name says nothing
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from gateway.errors import BadRequest, NotFound
from gateway.policy.policies import PolicySet
from gateway.policy.schema import RESERVED
from gateway.types import Model, Policy

CHAT, REASONER = "deepseek-chat", "deepseek-reasoner"  # one model of DeepSeek's, without and with thinking
LONGEST = 256  # characters of a model's name with its suffixes
PRESET = "@preset/"


class Named(NamedTuple):
    model: Model
    suffix: str
    name: str  # as the request gives it, without the suffix
    policy: str = ""  # what holds for this name where the request names no policy

    def thinks(self, asked: bool | None) -> bool:
        """Whether the model thinks; `asked` is what the request says about it, None where it says nothing."""
        if self.name == REASONER:
            return True
        return self.model.reasoning.default_enabled and self.name != CHAT if asked is None else asked


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """Where a policy's name may stand beside the model's, the first that says one wins; `otherwise` always does."""

    preset: str
    header: str
    otherwise: str


class Names:
    """Every name that a model answers to. `default` is the first model, if there is any."""

    __slots__ = ("_models", "default")

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {name: Named(model, "", name) for model in models for name in (model.id, *model.aliases)}
        self.default = next(iter(self._models.values()), None)

    def model(self, name: object) -> Named:
        """Splits a name into model and suffix. Raises BadRequest or NotFound, which lists what there is."""
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
            raise BadRequest(f"`model` must be the name of a model, at most {LONGEST} characters", param="model")
        if (plain := self._models.get(name)) is not None:
            return plain
        base, marked, preset = name.partition(PRESET)
        base, _, suffix = base.partition(":")
        if marked and not preset:
            raise BadRequest(f"`model` must name the preset, a policy, as in {PRESET}floor", param="model")
        named = self._named(base) if base or not marked else self.default
        if named is None:
            known = ", ".join(sorted({one.model.id for one in self._models.values()}))
            raise NotFound(f"there is no model `{base}`; there is {known}", param="model", code="model_not_found")
        return named._replace(suffix=_suffix(suffix, preset))

    def _named(self, base: str) -> Named | None:
        """The model of a name without suffixes."""
        return self._models.get(base)

    def known(self, names: Sequence[object]) -> list[Named]:
        """Those of these names that are a model's. Raises what is wrong with the first where none is."""
        if len(names) == 1:
            return [self.model(names[0])]
        found: list[Named] = []
        refusal: NotFound | None = None
        for name in names:
            try:
                found.append(self.model(name))
            except NotFound as error:
                refusal = refusal or error
        if not found and refusal is not None:
            raise refusal
        return found


def _suffix(suffix: str, preset: str) -> str:
    """Suffixes in one order, the last of which counts: what stands behind a preset may override it, as fields do."""
    preset, _, later = preset.partition(":")
    return ":".join(part for part in (preset, suffix, later) if part)


def served(models: Sequence[Named], wanted: Wanted, policies: PolicySet) -> list[tuple[Named, Policy]]:
    """These models with their policies, each once, without those whose policy is unknown. Raises what is wrong with the
    first where all are."""
    if len(models) == 1:
        return [(models[0], choose_policy(models[0], wanted, policies))]
    found: list[tuple[Named, Policy]] = []
    refusal: NotFound | None = None
    for named in models:
        try:
            policy = choose_policy(named, wanted, policies)
        except NotFound as error:
            refusal = refusal or error
            continue
        if all(named.model is not other.model or policy is not its for other, its in found):
            found.append((named, policy))
    if not found and refusal is not None:
        raise refusal
    return found


def choose_policy(named: Named, wanted: Wanted, policies: PolicySet) -> Policy:
    """The suffix wins over `preset`, that over the header, and that over what holds for the name, or at all, where the
    client names no policy; of several suffixes (`nitro:floor`) the last. Raises NotFound."""
    suffix = named.suffix
    name = wanted.preset or wanted.header or named.policy or wanted.otherwise
    if not suffix and (policy := policies.get(name)) is not None:
        return policy
    names = suffix.split(":") if suffix else [name]
    for name in names:
        if name not in policies:
            known = ", ".join(sorted(policies))
            param = "model" if suffix else "preset" if wanted.preset else "x-gateway-policy"
            hint = " (a variant that OpenRouter sells; not served here)" if name in RESERVED else ""
            message = f"there is no policy `{name[:LONGEST]}`{hint}; there are {known}"
            raise NotFound(message, param=param, code="policy_not_found")
    return policies[names[-1]]
