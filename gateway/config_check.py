"""Cross-checks between gateway.yaml, the catalogue and the policies.

Each file has been validated by itself when it was read. Here names are resolved across files, and configurations that
can never serve a request are found.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import Settings, sufficient_variables, usable, why_unusable
from gateway.config.unusual_prices import unusual_prices
from gateway.document import nearest
from gateway.errors import ConfigError
from gateway.intake.auth import LOCAL
from gateway.policy.policies import PolicySet, shipped_folder
from gateway.route.filters import hard_reason
from gateway.route.fleet import Fleet
from gateway.types import Model, Policy, Request
from gateway.upstream.litellm_adapter import lacking
from gateway.upstream.transport.address import header_safe, locate

ROUTES = ("/chat/completions", "/completions", "/responses", "/messages")


@dataclass(frozen=True, slots=True)
class ConfigFindings:
    """One line each. Problems are mistakes; warnings may also apply to a correct configuration."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def check_config(settings: Settings, policies: PolicySet) -> ConfigFindings:
    """Runs all checks. Sends no request."""
    problems = obstacles(settings, policies)
    warnings = [
        *_out_of_use(settings),
        *unusual_prices(settings),
        *_routes(settings),
        *_unmet(settings, policies),
        *_unknown_keys(settings),
        *_unlimited_groups(settings),
    ]
    chosen = set(_wanted(settings).values())
    for policy in policies.values():
        path = _file(settings, policy)
        found = [f"{path}: {mistake}" for mistake in _unknown_names(settings, policy)]
        if path.parent != shipped_folder():
            problems.extend(found)
        elif policy.name in chosen:  # written for the shipped catalogue, which `catalogue: false` disables
            warnings.extend(found)
    return ConfigFindings(tuple(problems), tuple(warnings))


def doubts(settings: Settings, policies: PolicySet) -> list[str]:
    """A line for each of these policies that currently has no endpoint, or names an endpoint that no model has."""
    unknown = [
        f"{_file(settings, policy)}: {mistake}"
        for policy in policies.values()
        for mistake in _unknown_names(settings, policy)
    ]
    return [*unknown, *_unmet(settings, policies)]


def obstacles(settings: Settings, policies: PolicySet) -> list[str]:
    """A line for each mistake that prevents the gateway from starting."""
    return [*unknown_policies(settings, policies), *lacking_packages(settings), *_unusable_keys(settings)]


def unknown_policies(settings: Settings, policies: PolicySet) -> list[str]:
    """A line for each policy that gateway.yaml names but that does not exist."""
    return [
        f"{where}: there is no policy `{name}`; {nearest(name, policies.keys())}"
        for where, name in _wanted(settings).items()
        if name not in policies
    ]


def _wanted(settings: Settings) -> dict[str, str]:
    """The policies that gateway.yaml names, by the place where it does."""
    wanted = {"default_policy": settings.default_policy}
    wanted |= {f"{rule.place}: rules[{number}]": rule.policy for number, rule in enumerate(settings.rules)}
    wanted |= {f"claude.{part}": name for part, name in settings.claude.items()}
    wanted |= {f"keys: tenant `{key.tenant}`": key.policy for key in settings.keys if key.policy}
    allowed = ((key.tenant, number, name) for key in settings.keys for number, name in enumerate(key.policies))
    return wanted | {f"keys: tenant `{tenant}`: policies[{number}]": name for tenant, number, name in allowed}


def lacking_packages(settings: Settings) -> list[str]:
    """A line for each endpoint in use that needs a package that is not installed."""
    return [problem for endpoint in settings.in_use if (problem := lacking(endpoint))]


def _unusable_keys(settings: Settings) -> Iterator[str]:
    """A line for each endpoint in use with an invalid address or key."""
    for endpoint in settings.in_use:
        if endpoint.adapter == "none":
            key = settings.secrets.get(endpoint.api_key_env or "")
            try:
                locate(endpoint)
                if key is not None:
                    header_safe(key, endpoint)
            except ConfigError as error:
                yield str(error)


def _routes(settings: Settings) -> Iterator[str]:
    """A line for each base URL that ends in a route, which the gateway itself would append."""
    for model in settings.models:
        for endpoint in model.endpoints:
            path = urlsplit(endpoint.base_url or "").path.rstrip("/")
            if route := next((one for one in ROUTES if path.endswith(one)), None):
                yield f"{endpoint.id}: base_url ends in `{route}`, but `/chat/completions` is appended to it; remove it"


def _unknown_keys(settings: Settings) -> Iterator[str]:
    """A line for each rule about a key that only a virtual key can be."""
    tenants = {key.tenant for key in settings.keys} or {LOCAL.tenant}
    for number, rule in enumerate(settings.rules):
        if rule.when.key is not None and rule.when.key not in tenants:
            unknown = f"no key of tenant `{rule.when.key}` but a virtual one; {nearest(rule.when.key, tenants)}"
            yield f"{rule.place}: rules[{number}]: {unknown}"


def _unlimited_groups(settings: Settings) -> Iterator[str]:
    """A line for each key whose group has no limits while others have."""
    groups = settings.limits.groups
    for key in settings.keys:
        if groups and key.group is not None and key.group not in groups:
            yield f"keys: tenant `{key.tenant}`: `limits.groups` has no `{key.group}`; {nearest(key.group, groups)}"


def idle_keys(models: tuple[Model, ...], environ: Mapping[str, str]) -> list[str]:
    """A line for each API key that is set but whose endpoint cannot be used, with the reason."""
    endpoints = [endpoint for model in models for endpoint in model.endpoints]
    return [
        f"{endpoint.api_key_env} is set, but {endpoint.id} cannot be used: {why}"
        for endpoint in endpoints
        if environ.get(endpoint.api_key_env or "", "").strip() and (why := why_unusable(endpoint, environ))
    ]


def _unknown_names(settings: Settings, policy: Policy) -> Iterator[str]:
    """A line for each name in a policy that is no model's endpoint or provider."""
    endpoints = [endpoint for model in settings.models for endpoint in model.endpoints]
    ids = {endpoint.id for endpoint in endpoints}
    known = ids | {endpoint.provider for endpoint in endpoints}
    named = {
        "require.only": policy.require.only,
        "require.ignore": policy.require.ignore,
        "pick.order": policy.pick.order,
        "pick.endpoint": (policy.pick.endpoint,) if policy.pick.endpoint else (),
    }
    for field, names in named.items():
        for name in names:
            if name not in known:
                yield f"{field}: there is no endpoint or provider `{name}`; {nearest(name, ids)}"


def _out_of_use(settings: Settings) -> Iterator[str]:
    """A line for each model without an endpoint in use."""
    for model in settings.models:
        if not usable(model, settings.secrets):
            variables = ", ".join(sufficient_variables((model,)))
            yield f"{model.id}: no endpoint is in use" + (f"; set at least one of {variables}" if variables else "")


def _unmet(settings: Settings, policies: PolicySet) -> Iterator[str]:
    """A line for each policy and model that it applies to, if none of the model's endpoints in use meets the policy.

    A policy that gateway.yaml names applies to all models. Any other shipped policy is optional: it gets a line only if
    it can serve no model at all.
    """
    fleets = {model: fleet for model in settings.models if (fleet := Fleet(usable(model, settings.secrets))).states}
    chosen = set(_wanted(settings).values())
    for policy in policies.values():
        meant = [model for model in fleets if policy.name in chosen or _is_meant(policy, model)]
        unmet = {model: rules for model in meant if (rules := _missed(policy, model.id, fleets[model]))}
        path = _file(settings, policy)
        offered = policy.name not in chosen and path.parent == shipped_folder()
        if offered and len(unmet) < len(meant):
            continue
        for model, rules in unmet.items():
            yield f"{path}: no endpoint of {model.id} in use meets its {rules}"


def _is_meant(policy: Policy, model: Model) -> bool:
    """Whether a policy applies to this model. One that lists its endpoints applies to the models that have them."""
    allowed = {policy.pick.endpoint} if policy.pick.endpoint else set(policy.require.only)
    names = {name for endpoint in model.endpoints for name in (endpoint.id, endpoint.provider)}
    return not allowed or not allowed.isdisjoint(names)


def _missed(policy: Policy, model: str, fleet: Fleet) -> str:
    """The rules by which a policy excludes all endpoints of a model; empty if it allows one of them."""
    request = Request(id="", body={}, model=model, policy=policy.name)
    reasons = [hard_reason(state, request, policy) for state in fleet.states.values()]
    return ", ".join(sorted({reason.rule for reason in reasons if reason})) if all(reasons) else ""


def _file(settings: Settings, policy: Policy) -> Path:
    name = f"{policy.name}.yaml"
    own = settings.policies.absolute() / name if settings.policies else None
    return own if own and own.is_file() else shipped_folder() / name
