"""Checks the fields of an endpoint with an adapter."""

from dataclasses import asdict

from gateway.types import Endpoint

# litellm's family, the first part of `model` -> the options that it requires.
FAMILIES = {"azure": {"api_version"}, "bedrock": {"region"}, "vertex_ai": {"project", "location"}}
_MODELS = "`bedrock/converse/...`, `azure/...` or `vertex_ai/...`"


def adapter_problem(endpoint: Endpoint) -> str | None:
    """The problem of an endpoint's adapter, with the correction; None when there is none."""
    given = {name for name, value in asdict(endpoint.adapter_options).items() if value is not None}
    if endpoint.adapter == "none":
        return "adapter_options need an adapter; add `adapter: litellm`, or remove them" if given else None
    if endpoint.model is None:
        return None  # not in use until it is given
    family = endpoint.model.partition("/")[0]
    if family not in FAMILIES:
        return f"with `adapter: litellm`, `model` must start with litellm's provider: {_MODELS}"
    needed, known = set(FAMILIES[family]), FAMILIES[family]
    if family == "bedrock" and endpoint.api_key_env:
        needed.clear()  # a bearer key needs no signature
    if missing := sorted(needed - given):
        return f"{family} needs `adapter_options: {{{missing[0]}: ...}}`"
    if foreign := sorted(given - known):
        return f"adapter_options: {family} has no `{foreign[0]}`; it has {', '.join(sorted(known))}"
    return None
