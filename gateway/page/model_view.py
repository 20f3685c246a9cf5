"""`/page/model.json`: what a model is, its endpoints and policies, and the state of this moment.

settings ──facts──┐
fleet ──state─────┼──> ShownModel
policies ──picks──┘
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import gateway
from gateway.compiled import BUILD
from gateway.config import Settings
from gateway.config.score_table import read_scores
from gateway.page.about_view import about_model, published_scores
from gateway.page.endpoint_view import shown_endpoint
from gateway.page.page_types import (
    AboutModel,
    EndpointPage,
    ModalityNames,
    ModelFacts,
    ModelName,
    PoliciesInForce,
    PolicyName,
    PolicyPick,
    PriceRanges,
    PublishedScore,
    Range,
    ShownModel,
    SourcedCapability,
)
from gateway.page.picks import pick
from gateway.page.verdicts import Sentences
from gateway.policy.policies import Policies
from gateway.route.fleet import Fleet
from gateway.types import Endpoint, Model
from gateway.types.capability_claims import NO_CLAIMS, CapabilityClaims

HOUR = 3_600
SWITCH = (
    'Switch it with `reasoning: {"enabled": true}` or `false`, with `reasoning_effort` (`none` is off), or with '
    '`thinking: {"type": "enabled"}` or `"disabled"`: the gateway translates each of them for every host.'
)


class Prose(NamedTuple):
    """What is said about a model in words, or by others. Only the last two change while the gateway runs."""

    about: AboutModel
    scores: list[PublishedScore]
    verdict: Sentences
    claims: CapabilityClaims = NO_CLAIMS
    config_problems: Sequence[str] = ()


def prose(model: Model, claims: CapabilityClaims = NO_CLAIMS) -> Prose:
    """Without a verdict. Takes some tens of milliseconds the first time."""
    return Prose(about_model(model.about), published_scores(model.id, read_scores()), {}, claims)


def model_page(
    model: Model, settings: Settings, policies: Policies, fleet: Fleet, words: Prose, now: float, wall_time: float
) -> ShownModel:
    """`now` in monotonic seconds, as for the breakers; `wall_time` in unix time."""
    picks = all_picks(model, policies, fleet, now, wall_time)
    endpoints = shown_endpoints(model, settings, fleet, picks, now, wall_time)
    return ShownModel(
        at=wall_time,
        model=facts(model, fleet, bool(settings.keys), words.claims),
        models=[ModelName(one.id, one.name) for one in settings.models],
        version=gateway.__version__,
        build=BUILD,
        endpoints=endpoints,
        policies=in_force(policies, settings.default_policy),
        config_problems=list(words.config_problems),
        picks=picks,
        about=words.about,
        scores=words.scores,
        verdict=words.verdict,
    )


def all_picks(model: Model, policies: Policies, fleet: Fleet, now: float, wall_time: float) -> dict[str, PolicyPick]:
    """The pick of every policy in force, by its name."""
    hour = int(wall_time // HOUR) % 24
    return {name: pick(one, model.id, fleet, now, hour) for name, one in sorted(policies.current.items())}


def shown_endpoints(
    model: Model,
    settings: Settings,
    fleet: Fleet,
    picks: dict[str, PolicyPick],
    now: float,
    wall_time: float,
) -> list[EndpointPage]:
    """All endpoints of the catalogue, in its order."""
    return [
        shown_endpoint(one, fleet.states.get(one.id), picks, settings.secrets, now, wall_time)
        for one in model.endpoints
    ]


def in_force(policies: Policies, default: str) -> PoliciesInForce:
    named = [PolicyName(one.name, one.about) for _, one in sorted(policies.current.items())]
    return PoliciesInForce(default, named, list(policies.problems))


def facts(model: Model, fleet: Fleet, needs_key: bool, claims: CapabilityClaims = NO_CLAIMS) -> ModelFacts:
    """Of the endpoints in use; where there is none, of all that are not retired."""
    used = [state.endpoint for state in fleet.states.values()]
    served = used or [one for one in model.endpoints if one.status != "retired"]
    return ModelFacts(
        id=model.id,
        name=model.name,
        description=model.description,
        author=model.name.partition(":")[0] if ":" in model.name else model.id.partition("/")[0],
        released=model.created or None,
        context=max((one.context for one in served), default=model.context),
        max_output=max((one.max_output for one in served if one.max_output), default=model.max_output),
        modalities=ModalityNames(model.inputs, ["text"]),
        capabilities=_capabilities(served, claims),
        reasoning=_reasoning(model),
        price=_prices(served),
        simulated=any(one.simulated for one in used),
        needs_key=needs_key,
    )


def _capabilities(served: Sequence[Endpoint], claims: CapabilityClaims) -> list[SourcedCapability]:
    """Every capability that some endpoint has, the most usual first, with what each source says. The configuration
    decides; probes are added by the page."""
    listed = [one for one in served if one.id in claims.by_endpoint]
    counted = {name: sum(name in one.supports for one in served) for one in served for name in one.supports}
    ordered = sorted(counted.items(), key=lambda one: (-one[1], one[0]))

    def source(name: str, count: int) -> str:
        own = f"catalogue or gateway.yaml: {count} of {len(served)} endpoints"
        if not listed or name not in claims.known:
            return own
        also = sum(name in claims.by_endpoint[one.id] for one in listed)
        return f"{own}; {claims.source}: {also} of the {len(listed)} that it lists"

    return [SourcedCapability(name, source(name, count)) for name, count in ordered]


def _reasoning(model: Model) -> str | None:
    if not model.reasons:
        return None
    default = "on" if model.reasoning.default_enabled else "off"
    return f"Reasoning is {default} unless a request says otherwise. {SWITCH}"


def _prices(served: Sequence[Endpoint]) -> PriceRanges:
    prices = [one.price for one in served if one.price is not None]
    cached = [one.input if one.cached_input is None else one.cached_input for one in prices]
    return PriceRanges(_range(one.input for one in prices), _range(one.output for one in prices), _range(cached))


def _range(prices: Iterable[float]) -> Range | None:
    found = sorted(prices)
    return (found[0], found[-1]) if found else None
