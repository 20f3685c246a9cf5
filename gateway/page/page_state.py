"""The data of the page's answers, made at most once a second, so that many open pages cost as much as one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.exceptions import HTTPException

from gateway.config import Settings
from gateway.page.exchange_feed import ExchangeFeed
from gateway.page.model_view import Prose, model_page, prose
from gateway.page.page_types import ShownModel
from gateway.page.verdicts import Verdicts
from gateway.policy.policies import Policies
from gateway.proxy.recent_exchanges import RecentExchanges, SlowFrom
from gateway.route.fleet import Fleet
from gateway.types import Model, Policy
from gateway.types.capability_claims import CapabilityClaims

FRESH = 0.9  # seconds
SLOWER = 2.0  # times the 95th percentile of an endpoint's time to first token, from which an exchange is slow


class PageState:
    """`claims` says what another source knows of the capabilities of a model's endpoints.

    Also sets in `recent` from which time to first token an exchange is slow."""

    def __init__(
        self,
        settings: Settings,
        policies: Policies,
        fleets: Mapping[str, Fleet],
        recent: RecentExchanges,
        feed: ExchangeFeed,
        verdicts: Verdicts,
        claims: Callable[[Model], Awaitable[CapabilityClaims]],
    ) -> None:
        self.feed = feed
        self._verdicts = verdicts
        self._claims = claims
        self.problems: Callable[[], Sequence[str]] = tuple  # why gateway.yaml on disk is not in force
        self._settings = settings
        self._policies = policies
        self._fleets = fleets
        self._recent = recent
        self._pages: dict[str, tuple[float, ShownModel]] = {}  # when each was made
        self._prose: dict[str, Prose] = {}
        self._making = asyncio.Lock()

    def model(self, name: str) -> Model:
        """The model of this name, or the first one without a name; HTTPException 404 for any other name."""
        models = self._settings.models
        found = next((one for one in models if name in ("", one.id, *one.aliases)), None)
        if found is None:
            raise HTTPException(404, "there is no such model")
        return found

    async def page(self, model: Model) -> ShownModel:
        """As of the last second."""
        async with self._making:
            made_at, page = self._pages.get(model.id, (float("-inf"), None))
            if page is None or time.monotonic() - made_at >= FRESH:
                words, now = await self._words(model), time.monotonic()
                parts = self._settings, self._policies, self._fleets[model.id], words
                page = model_page(model, *parts, now, time.time())
                self._pages[model.id] = now, page
        return page

    async def _words(self, model: Model) -> Prose:
        if model.id not in self._prose:
            self._prose[model.id] = await asyncio.to_thread(prose, model, await self._claims(model))
        verdict = await self._verdicts.of(model.id)
        return self._prose[model.id]._replace(verdict=verdict, config_problems=self.problems())

    def close(self) -> None:
        self._verdicts.close()

    async def tick(self) -> bool:
        """Call it once a second: what is slow, and the exchanges of this second. False when the store could not be
        reached."""
        self._recent.slow_from = slow_from(self._policies.current, self._fleets)
        return await self.feed.tick()


def slow_from(policies: Mapping[str, Policy], fleets: Mapping[str, Fleet]) -> SlowFrom:
    """The time to first token above which an exchange is slow, in seconds, by policy and endpoint: twice the endpoint's
    95th percentile, or the lowest limit on it that the policy states."""
    usual = {
        name: SLOWER * p95
        for fleet in fleets.values()
        for name, state in fleet.states.items()
        if (p95 := state.figures["ttft_p95"]) is not None
    }
    names = [name for fleet in fleets.values() for name in fleet.states]
    found: dict[tuple[str, str], float] = {}
    for policy in policies.values():
        limits = (*policy.require.limits, *policy.slo, *policy.prefer)
        stated = [one.value for one in limits if one.measure.startswith("ttft")]
        for name in names:
            known = [*stated, usual[name]] if name in usual else stated
            if known:
                found[policy.name, name] = min(known)
    return found
