"""What a key may use: its `models` and `policies`."""

from gateway.config import Key
from gateway.errors import Forbidden
from gateway.intake.model_and_policy import ResolvedModel
from gateway.types import Model, Policy


def permitted(key: Key, choices: list[tuple[ResolvedModel, Policy]]) -> list[tuple[ResolvedModel, Policy]]:
    """Those of the models, each with its policy, that the key may use. Raises Forbidden if there is none."""
    models = [one for one in choices if not key.models or _named(one[0].model, key.models)]
    if not models:
        listed = ", ".join(key.models)
        raise Forbidden(f"this API key may use only these models: {listed}", param="model", code="model_not_allowed")
    found = [one for one in models if not key.policies or one[1].name in key.policies]
    if not found:
        listed, name = ", ".join(key.policies), models[0][1].name
        what = f"this API key may use only these policies: {listed}; this request has `{name}`"
        raise Forbidden(what, param="model", code="policy_not_allowed")
    return found


def _named(model: Model, names: tuple[str, ...]) -> bool:
    return model.id in names or any(alias in names for alias in model.aliases)
