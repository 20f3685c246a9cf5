"""The model and the policy of a request: `deepseek/deepseek-v3.2:nitro`, `deepseek-reasoner`, `x-gateway-policy`.

NAME[:POLICY ...]        a model with a policy             NAME@preset/POLICY   the same in OpenRouter's syntax
@preset/POLICY           the first model with it           "preset": "POLICY"   if the model's name has no policy
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from gateway.errors import BadRequest, NotFound
from gateway.policy.policies import PolicySet
from gateway.policy.policy_document import RESERVED
from gateway.types import Model, Policy

CHAT, REASONER = "deepseek-chat", "deepseek-reasoner"  # DeepSeek's names for the same model without and with reasoning
LONGEST = 256  # characters of a model's name with its suffixes
PRESET = "@preset/"


class ResolvedModel(NamedTuple):
    model: Model
    suffix: str
    name: str  # as in the request, without the suffix
    policy: str = ""  # default policy of this name

    def thinks(self, requested: bool | None) -> bool:
        """Whether reasoning is on. `requested` is the request's switch, None without one."""
        if self.name == REASONER:
            return True
        return self.model.reasoning.default_enabled and self.name != CHAT if requested is None else requested


class PolicyCandidates(msgspec.Struct, frozen=True, gc=False):
    """The policy names of a request apart from the model suffix, in order of precedence. `otherwise` is never empty."""

    preset: str
    header: str
    otherwise: str


class Names:
    """All names of the models. `default` is the first model, if there is any."""

    __slots__ = ("_models", "default")

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {name: ResolvedModel(model, "", name) for model in models for name in (model.id, *model.aliases)}
        self.default = next(iter(self._models.values()), None)

    def model(self, name: object) -> ResolvedModel:
        """Splits a name into model and suffix. Raises BadRequest, or NotFound with the known models."""
        if isinstance(name, str) and (plain := self._models.get(name)) is not None:
            return plain
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
            raise BadRequest(f"`model` must be a model name of at most {LONGEST} characters", param="model")
        base, marked, preset = name.partition(PRESET)
        base, _, suffix = base.partition(":")
        if marked and not preset:
            raise BadRequest(f"`model` must name a policy as preset, as in {PRESET}floor", param="model")
        named = self._named(base) if base or not marked else self.default
        if named is None:
            known = ", ".join(sorted({one.model.id for one in self._models.values()}))
            raise NotFound(f"there is no model `{base}`; known models: {known}", param="model", code="model_not_found")
        return named._replace(suffix=_suffix(suffix, preset))

    def _named(self, base: str) -> ResolvedModel | None:
        """The model of a name without suffixes."""
        return self._models.get(base)

    def known(self, names: Sequence[object]) -> list[ResolvedModel]:
        """The known models among these names. If there are none, raises the error of the first."""
        if len(names) == 1:
            return [self.model(names[0])]
        found: list[ResolvedModel] = []
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
    """All suffixes in order of precedence, the last of which applies: suffixes after a preset override it."""
    preset, _, later = preset.partition(":")
    return ":".join(part for part in (preset, suffix, later) if part)


def served(
    models: Sequence[ResolvedModel], wanted: PolicyCandidates, policies: PolicySet
) -> list[tuple[ResolvedModel, Policy]]:
    """These models with their policies, without duplicates and without unknown policies. If none is left, raises the
    error of the first."""
    if len(models) == 1:
        return [(models[0], choose_policy(models[0], wanted, policies))]
    found: list[tuple[ResolvedModel, Policy]] = []
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


def choose_policy(named: ResolvedModel, wanted: PolicyCandidates, policies: PolicySet) -> Policy:
    """By precedence: the last suffix (of `nitro:floor`, `floor`), `preset`, the header, the name's default, the
    request's default. Raises NotFound."""
    suffix = named.suffix
    name = wanted.preset or wanted.header or named.policy or wanted.otherwise
    if not suffix and (policy := policies.get(name)) is not None:
        return policy
    names = suffix.split(":") if suffix else [name]
    for name in names:
        if name not in policies:
            known = ", ".join(sorted(policies))
            param = "model" if suffix else "preset" if wanted.preset else "x-gateway-policy" if wanted.header else None
            hint = " (a variant of OpenRouter, not supported here)" if name in RESERVED else ""
            default = "" if param else ", which is the default of this request, as of its API key"
            message = f"there is no policy `{name[:LONGEST]}`{hint}{default}; known policies: {known}"
            raise NotFound(message, param=param, code="policy_not_found")
    return policies[names[-1]]
