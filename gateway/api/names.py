"""Which model and policy a request means: `deepseek/deepseek-v3.2:nitro`, `deepseek-reasoner`, `x-gateway-policy`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.errors import BadRequest, NotFound
from gateway.policy.load import PolicySet
from gateway.policy.schema import RESERVED
from gateway.types import Model, Policy

CHAT, REASONER = "deepseek-chat", "deepseek-reasoner"  # one model of DeepSeek's, without and with thinking
LONGEST = 256  # characters of a model's name with its suffixes


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


class Names:
    """Every name that a model answers to."""

    __slots__ = ("_models",)

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {name: Named(model, "", name) for model in models for name in (model.id, *model.aliases)}

    def model(self, name: object) -> Named:
        """Splits a name into model and suffix. Raises BadRequest or NotFound, which lists what there is."""
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
            raise BadRequest(f"`model` must be the name of a model, at most {LONGEST} characters", param="model")
        if (plain := self._models.get(name)) is not None:
            return plain
        base, _, suffix = name.partition(":")
        named = self._models.get(base)
        if named is None:
            known = ", ".join(sorted({one.model.id for one in self._models.values()}))
            raise NotFound(f"there is no model `{base}`; there is {known}", param="model", code="model_not_found")
        return named._replace(suffix=suffix)

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


def served(models: Sequence[Named], header: str, otherwise: str, policies: PolicySet) -> list[tuple[Named, Policy]]:
    """These models with their policies, each once, without those whose policy is unknown. Raises what is wrong with the
    first where all are."""
    if len(models) == 1:
        (named,) = models
        return [(named, choose_policy(named.suffix, header, named.policy or otherwise, policies))]
    found: list[tuple[Named, Policy]] = []
    refusal: NotFound | None = None
    for named in models:
        try:
            policy = choose_policy(named.suffix, header, named.policy or otherwise, policies)
        except NotFound as error:
            refusal = refusal or error
            continue
        if all(named.model is not other.model or policy is not its for other, its in found):
            found.append((named, policy))
    if not found and refusal is not None:
        raise refusal
    return found


def choose_policy(suffix: str, header: str, otherwise: str, policies: PolicySet) -> Policy:
    """The suffix wins over the header, and that over whatever holds where the client names none; of several suffixes
    (`nitro:floor`) the last. Raises NotFound."""
    names = suffix.split(":") if suffix else [header or otherwise]
    for name in names:
        if name not in policies:
            known = ", ".join(sorted(policies))
            param = "model" if suffix else "x-gateway-policy"
            hint = " (a variant that OpenRouter sells; not served here)" if name in RESERVED else ""
            message = f"there is no policy `{name[:LONGEST]}`{hint}; there are {known}"
            raise NotFound(message, param=param, code="policy_not_found")
    return policies[names[-1]]
