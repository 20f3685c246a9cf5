"""OpenRouter's `provider` object: routing preferences of one request, applied to its policy.

    policy + {"order": ["novita"], "max_price": {"completion": 0.5}, ...} ──> a derived policy, cached

It can only narrow the policy's requirements and change the order in which endpoints are tried. Null fields are ignored.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from typing import Any, get_args

import orjson

from gateway.config import why_unusable
from gateway.document import nearest
from gateway.errors import BadRequest, NoEndpoint
from gateway.intake.field_types import Percentiles
from gateway.intake.options_types import ProviderOptions, Sort
from gateway.policy.policies import PolicySet
from gateway.types import Endpoint, Hedge, Limit, Measure, Model, Operator, Pick, Policy, Require
from gateway.types.endpoint import Quantization

REMEMBERED = 128  # cached derived policies: each has its own shortlist
MOST_NAMES = 64
MOST_NAMED = 4  # names in an error message
_WITHOUT_EFFECT: dict[str, type] = {"enforce_distillable_text": bool, "options": dict}  # all endpoints satisfy them
_FIELDS = tuple(ProviderOptions.__annotations__)
_SORTS: tuple[str, ...] = get_args(Sort)
_PERCENTILES = tuple(Percentiles.__annotations__)
_PRICES: dict[str, Measure | None] = {
    "prompt": "price.input",
    "completion": "price.output",
    "request": None,  # no endpoint has such a price
    "image": None,
    "audio": None,
}
_INCLUDED = {"fp4": ("fp4", "mxfp4", "nvfp4"), "fp8": ("fp8", "mxfp8")}  # a precision and its variants
_PARAMETERS = {
    "tools": "tools",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tools",
    "seed": "seed",
    "logprobs": "logprobs",
    "top_logprobs": "logprobs",
    "logit_bias": "logit_bias",
}  # request parameter -> capability of endpoints


def sent_parameters(body: dict[str, Any]) -> frozenset[str]:
    """The capabilities needed for all parameters of this request, for `require_parameters`."""
    needs = {need for name, need in _PARAMETERS.items() if body.get(name) is not None}
    if any(map(_is_strict, body.get("tools") or ())):
        needs.add("strict_tools")
    if body.get("tools") and body.get("response_format"):
        needs.add("tools_with_response_format")
    return frozenset(needs)


def _is_strict(tool: object) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and function.get("strict") is True


class Preferences:
    """A cache of derived policies. Equal `provider` objects share one, so that its shortlist is reused."""

    __slots__ = ("_derived",)

    def __init__(self) -> None:
        self._derived: OrderedDict[tuple[int, str, bytes], tuple[Policy, Policy]] = OrderedDict()

    def applied(
        self, policy: Policy, provider: object, model: Model, in_use: Collection[str], policies: PolicySet
    ) -> Policy:
        """`policy` with the request's `provider` object applied. `in_use` are the ids of the model's endpoints in use,
        which never change. Raises BadRequest, NoEndpoint."""
        if not isinstance(provider, dict):
            raise BadRequest("`provider` must be an object", param="provider")
        key = id(policy), model.id, sha256(orjson.dumps(provider, option=orjson.OPT_SORT_KEYS)).digest()
        found = self._derived.get(key)
        if found is not None:
            self._derived.move_to_end(key)
            return found[1]
        derived = _ProviderReader(provider, model.endpoints, in_use).over(policy, policies)
        self._derived[key] = policy, derived  # keeps the policy alive, so that its id() is not reused
        if len(self._derived) > REMEMBERED:
            self._derived.popitem(last=False)
        return derived

    def __repr__(self) -> str:
        return f"<Preferences {len(self._derived)}/{REMEMBERED}>"


class _ProviderReader:
    """Validates and applies one `provider` object. BadRequest names the field."""

    def __init__(self, provider: dict[str, Any], endpoints: tuple[Endpoint, ...], in_use: Collection[str]) -> None:
        self._endpoints = endpoints
        self._in_use = in_use
        self._given = {name: value for name, value in provider.items() if value is not None}
        for name in self._given:
            if name not in _FIELDS:
                raise _wrong(name, f"is unknown; {nearest(name, _FIELDS)}")

    def over(self, policy: Policy, policies: PolicySet) -> Policy:
        for name, kind in _WITHOUT_EFFECT.items():
            self._typed(name, kind, "true or false" if kind is bool else "an object")
        self._flag("require_parameters")
        order, alone = self._names("order"), self._flag("allow_fallbacks") is False
        self._can_serve("only", self._names("only"))
        if alone:
            self._can_serve("order", order)
        derived = self._sorted(policy, policies)
        if order:
            derived = _picking(derived, Pick("order", explore=0.0, order=order))
        elif alone:
            derived = replace(derived, attempts=replace(derived.attempts, max=1), hedge=Hedge())
        return replace(
            derived,
            require=self._required(derived.require, order if alone else ()),
            prefer=derived.prefer + self._preferred(),
        )

    def _sorted(self, policy: Policy, policies: PolicySet) -> Policy:
        """Strictly by price, throughput or latency; `exacto` is the policy of that name."""
        sort = self._sort()
        if sort is None:
            return policy
        if sort == "exacto":
            exacto = policies["exacto"]
            picking = _picking(replace(policy, score=exacto.score), exacto.pick)
            return replace(picking, prefer=exacto.prefer, slo=exacto.slo)
        if sort == "price":
            score = replace(policy.score, price="list", value_of_time=0.0, failure_cost=0.0, quality_cost=0.0)
            return _picking(replace(policy, score=score), Pick("best", explore=0.0))
        return _picking(policy, Pick("throughput" if sort == "throughput" else "latency", explore=0.0))

    def _sort(self) -> str | None:
        """The criterion, given as a string or as `by` in an object; `partition` has no effect."""
        given = self._given.get("sort")
        if isinstance(given, dict):
            for name in given:
                if name not in ("by", "partition"):
                    raise _wrong(f"sort.{name}", "is unknown; write `by` and `partition`")
            partition = given.get("partition")
            if partition not in (None, "model", "none"):
                raise _wrong("sort.partition", "must be `model` or `none`")
            given = given.get("by")
        if given is not None and given not in _SORTS:
            raise _wrong("sort", f"must be one of {', '.join(_SORTS)}")
        return given

    def _required(self, require: Require, order: tuple[str, ...]) -> Require:
        collection = self._given.get("data_collection", "allow")
        if collection not in ("allow", "deny"):
            raise _wrong("data_collection", "must be `allow` or `deny`")
        return replace(
            require,
            only=self._narrowed("only", require.only, self._names("only"), order),
            ignore=require.ignore + tuple(name for name in self._names("ignore") if name not in require.ignore),
            quantization=self._quantizations(require.quantization),
            zdr=require.zdr or self._flag("zdr") is True,
            no_training=require.no_training or collection == "deny",
            limits=require.limits + self._prices(),
        )

    def _narrowed(self, field: str, *lists: tuple[str, ...]) -> tuple[str, ...]:
        """The intersection of the non-empty lists. Raises NoEndpoint if it is empty."""
        given = [names for names in lists if names]
        if len(given) < 2:
            return given[0] if given else ()
        both = [one.id for one in self._endpoints if all(one.id in names or one.provider in names for names in given)]
        if not both:
            shown = " and ".join(f"[{', '.join(names)}]" for names in given)
            raise NoEndpoint(f"no endpoint is in {shown}", param=f"provider.{field}", status=404)
        return tuple(both)

    def _quantizations(self, required: tuple[str, ...]) -> tuple[str, ...]:
        known = get_args(Quantization)
        requested: list[str] = []
        for name in self._texts("quantizations", "precisions"):
            if name not in known:
                raise _wrong("quantizations", f"has no precision `{name}`; {nearest(name, known)}")
            requested += _INCLUDED.get(name, (name,))
        if not (requested and required):
            return tuple(dict.fromkeys(requested)) or required
        both = tuple(name for name in required if name in requested)
        if not both:
            message = f"the policy accepts {', '.join(required)} only"
            raise NoEndpoint(message, param="provider.quantizations", status=404)
        return both

    def _prices(self) -> tuple[Limit, ...]:
        prices = self._typed("max_price", dict, "an object, as in {prompt: 0.3}") or {}
        limits = []
        for name, value in prices.items():
            if name not in _PRICES:
                raise _wrong(f"max_price.{name}", f"is unknown; {nearest(name, _PRICES)}")
            if value is None:
                continue
            most = _amount(f"max_price.{name}", value)
            if measure := _PRICES[name]:
                limits.append(Limit(measure, "<=", most))
        return tuple(limits)

    def _preferred(self) -> tuple[Limit, ...]:
        return (
            *self._cutoffs("preferred_min_throughput", "throughput", ">="),
            *self._cutoffs("preferred_max_latency", "ttft", "<="),
        )

    def _cutoffs(self, field: str, measure: str, operator: Operator) -> Iterable[Limit]:
        """Limits from a number for the median, or from one number per percentile."""
        given = self._given.get(field, {})
        cutoffs = given if isinstance(given, dict) else {"p50": given}
        for name, value in cutoffs.items():
            if name not in _PERCENTILES:
                raise _wrong(f"{field}.{name}", f"is unknown; write {', '.join(_PERCENTILES)}")
            if value is not None:
                path = f"{field}.{name}" if cutoffs is given else field
                known: Any = f"{measure}_{name}"
                yield Limit(known, operator, _amount(path, value))

    def _names(self, field: str) -> tuple[str, ...]:
        """The given endpoints and providers that the catalogue has, in its spelling. Unknown ones are dropped;
        `_can_serve` reports them if none is left."""
        named = [_spellings(name) for name in self._texts(field, "endpoints or providers")]
        found = [next((self._known[one] for one in spellings if one in self._known), None) for spellings in named]
        return tuple(dict.fromkeys(name for name in found if name is not None))

    @cached_property
    def _known(self) -> dict[str, str]:
        """The catalogue's names by their spellings; ids take precedence over providers, exact spellings over others."""
        known: dict[str, str] = {}
        for spelling in (0, 1):
            known = {_spellings(one.id)[spelling]: one.id for one in self._endpoints} | known
        for spelling in (0, 1):
            names = [(name, one.provider) for one in self._endpoints for name in (one.provider, one.name) if name]
            known = {_spellings(name)[spelling]: provider for name, provider in names} | known
        return known

    def _names_in_use(self) -> set[str]:
        used = [one for one in self._endpoints if one.id in self._in_use]
        return {name for one in used for name in (one.id, one.provider)}

    def _can_serve(self, field: str, names: tuple[str, ...]) -> None:
        """Raises NoEndpoint if none of these is in use, with the reason for each."""
        if self._given.get(field) and not names:
            requested = [name[:60] for name in self._texts(field, "endpoints or providers")]
            message = (
                f"none of [{', '.join(requested[:MOST_NAMED])}] is known; {nearest(requested[0], self._names_in_use())}"
            )
            raise NoEndpoint(message, param=f"provider.{field}", status=404)
        if names and self._names_in_use().isdisjoint(names):
            message = "; ".join(f"{name} is not in use: {self._why_unusable(name)}" for name in names)
            raise NoEndpoint(message, param=f"provider.{field}", status=404)

    def _why_unusable(self, name: str) -> str:
        """Why the endpoints of this name are not in use, without duplicates."""
        named = [one for one in self._endpoints if name in (one.id, one.provider)]
        # Without secrets: the key is checked last, so if it is set, another reason is reported.
        return " or ".join(dict.fromkeys(why for one in named if (why := why_unusable(one, {}))))

    def _texts(self, field: str, what: str) -> list[str]:
        given = self._given.get(field, [])
        if not isinstance(given, list) or len(given) > MOST_NAMES or not all(isinstance(one, str) for one in given):
            raise _wrong(field, f"must be a list of at most {MOST_NAMES} {what}")
        return given

    def _flag(self, field: str) -> bool | None:
        flag: bool | None = self._typed(field, bool, "true or false")
        return flag

    def _typed(self, field: str, kind: type, what: str) -> Any:
        given = self._given.get(field)
        if given is not None and not isinstance(given, kind):
            raise _wrong(field, f"must be {what}")
        return given


def _spellings(name: str) -> tuple[str, str]:
    """A name in lower case, with and without punctuation: `Atlas Cloud`, `AtlasCloud` and `atlas-cloud` match."""
    folded = name.casefold()
    return folded, "".join(one for one in folded if one.isalnum() or one == "/")


def _picking(policy: Policy, pick: Pick) -> Policy:
    """The policy with another picker and without its soft limits. A policy that pins one endpoint keeps its picker."""
    return replace(policy, pick=policy.pick if policy.pick.how == "fixed" else pick, prefer=(), slo=())


def _amount(path: str, value: object) -> float:
    """A number of at least 0, which some SDKs send as a string."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise _wrong(path, "must be a number, 0 or more")
    return number


def _wrong(path: str, what: str) -> BadRequest:
    return BadRequest(f"`provider.{path}` {what}", param=f"provider.{path}")
