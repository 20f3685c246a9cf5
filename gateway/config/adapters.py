"""What an endpoint with an adapter must say, and what it may not."""

from dataclasses import asdict

from gateway.types import Endpoint

# litellm's family, the start of `model` -> the options that it needs.
FAMILIES = {"azure": {"api_version"}, "bedrock": {"region"}, "vertex_ai": {"project", "location"}}
_MODELS = "`bedrock/converse/...`, `azure/...` or `vertex_ai/...`"


def adapter_problem(endpoint: Endpoint) -> str | None:
    """What is wrong with an endpoint's adapter, and what would be right; None when nothing is."""
    given = {name for name, value in asdict(endpoint.adapter_options).items() if value is not None}
    if endpoint.adapter == "none":
        return (
            "adapter_options say nothing without an adapter; add `adapter: litellm`, or remove them" if given else None
        )
    if endpoint.model is None:
        return None  # not in use until it is given
    family = endpoint.model.partition("/")[0]
    if family not in FAMILIES:
        return f"with `adapter: litellm`, model starts with who translates: {_MODELS}"
    needed, known = set(FAMILIES[family]), FAMILIES[family]
    if family == "bedrock" and endpoint.api_key_env:
        needed.clear()  # a bearer key needs no signature
    if missing := sorted(needed - given):
        return f"{family} needs `adapter_options: {{{missing[0]}: ...}}`"
    if foreign := sorted(given - known):
        return f"adapter_options: {family} takes no `{foreign[0]}`; it takes {', '.join(sorted(known))}"
    return None
