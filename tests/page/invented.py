"""Thirty days of invented history in the shapes of the page's routes, the same at every run.

    Invented(at) ── model() history(range) exchanges() exchange(id) prices() probes() ──> JSON of the contract

The browser tests and the screenshots use it, so that every panel has something to show, with each kind of endpoint:
in use, on trial, set back, with few samples, unused and retired.
"""

from random import Random

from tests.page.invented_hosts import DAY, HOSTS, MODEL, NOON, RANGES
from tests.page.invented_series import Bookings, Json, quantiles
from tests.page.invented_text import ABOUT, CAPABILITIES, SCORES, verdict

WHY = {
    "on trial": "3 of its last 20 attempts timed out; one request at a time until 5 succeed",
    "set back": "HTTP 503 in 6 of its last 10 attempts",
}
IDLE = [
    ("deepseek/native", "DeepSeek", "unused", "DEEPSEEK_API_KEY is not set", "DEEPSEEK_API_KEY"),
    ("together/fp8", "Together", "unused", "TOGETHER_API_KEY is not set", "TOGETHER_API_KEY"),
    ("chutes/fp8", "Chutes", "retired", "the host no longer lists the model since 2026-10-14", None),
]
APPS = {
    "support-desk": 0.41,
    "code-review": 0.27,
    "search-summaries": 0.15,
    "evals": 0.09,
    "playground": 0.05,
    "other": 0.03,
}
POLICIES = [
    ("balanced", "Cheap, and fast enough for a person who waits."),
    ("nitro", "The fastest answer, whatever it costs."),
    ("exacto", "Endpoints whose tool calls are right."),
    ("floor", "The lowest price."),
    ("interactive", "The first token within a second where that can be had."),
    ("private", "Only hosts that keep no data."),
]
PICKED = {"balanced": 2, "nitro": 4, "exacto": 0, "floor": 2, "interactive": 2, "private": 4}
CANARIES = ("arithmetic", "json", "tool_call", "thinking", "needle", "context", "fingerprint")


class Invented:
    """What a gateway with eight endpoints would answer at the Unix time `at`."""

    def __init__(self, at: float = NOON, traffic: bool = True, app: str = "support-desk") -> None:
        """`app` is the name of the app with most traffic."""
        self.at = at
        self._apps = {app: APPS["support-desk"], **{name: APPS[name] for name in APPS if name != "support-desk"}}
        self.about: Json = ABOUT
        self.unseen: set[str] = set()  # endpoints that had no attempt in any range
        self._traffic = traffic

    def model(self) -> Json:
        return {
            "at": self.at,
            "version": "0.9.0",
            "build": "compiled",
            "models": [{"id": MODEL, "name": "DeepSeek V3.2"}, {"id": "deepseek/deepseek-v4", "name": "DeepSeek V4"}],
            "model": self._facts(),
            "endpoints": [*(self._endpoint(name) for name in HOSTS), *(_idle(*one) for one in IDLE)],
            "policies": {
                "default": "balanced",
                "in_force": [{"name": name, "about": about} for name, about in POLICIES],
                "problems": [],
            },
            "picks": {name: self._pick(name) for name, _ in POLICIES},
            "about": self.about,
            "scores": SCORES,
            "verdict": {span: self._verdict(span) for span in RANGES},
        }

    def _facts(self) -> Json:
        return {
            "id": MODEL,
            "name": "DeepSeek V3.2",
            "author": "deepseek",
            "description": "A large open-weights mixture-of-experts model with sparse attention. It reasons on "
            "request, calls tools and reads long prompts at a low price.",
            "released": "2025-12-01",
            "context": 163_840,
            "max_output": 65_536,
            "modalities": {"input": ["text"], "output": ["text"]},
            "capabilities": CAPABILITIES,
            "reasoning": 'Reasoning is off unless a request switches it on with `reasoning: {"enabled": true}`.',
            "price": {"input": [0.258, 0.56], "cached_input": [0.056, 0.28], "output": [0.38, 1.68]},
            "simulated": True,
            "needs_key": True,
            "base_url_path": "/v1",
        }

    def _endpoint(self, name: str) -> Json:
        precision, price, cached, output, _, _, share, success, state = HOSTS[name]
        provider = name.partition("/")[0]
        return {
            "id": name,
            "name": provider.replace("-", " ").title(),
            "provider": provider,
            "quantization": precision,
            "context": 163_840 if precision != "fp4" else 131_072,
            "max_output": 65_536,
            "price": {"input": price, "cached_input": cached, "output": output, "as_of": "2026-11-23"},
            "in_flight": round(40 * share),
            "state": state,
            "why": WHY.get(state, ""),
            "until": self.at + 95 if state == "set back" else None,
            "published_uptime": success - 0.001,
            "simulated": True,
            "capabilities": ["tools", "json_schema", "reasoning"] if share > 0.05 else ["tools"],
            "set": None,
        }

    def _pick(self, policy: str) -> Json:
        names = list(HOSTS)
        chosen = names[PICKED[policy]]
        ranked = [_option(name, policy) for name in names if HOSTS[name][8] != "set back"]
        ranked.sort(key=lambda one: (one["endpoint"] != chosen, one["usd"] + one["time_usd"] + one["risk_usd"]))
        best = next(one for one in ranked if one["endpoint"] == chosen)
        dropped = [("parasail/fp8", "breaker: set back")]
        if policy == "exacto":
            dropped.append(("deepinfra/fp4", "quality: tool calls 91.2 % right, the policy wants 97 %"))
        return {
            "endpoint": chosen,
            "why": f"lowest score, ${best['usd']:.6f} for the tokens and {best['seconds']:.1f} s to the last token",
            "ranked": [one for one in ranked if one["endpoint"] not in dict(dropped)],
            "dropped": [{"endpoint": name, "rule": rule} for name, rule in dropped],
        }

    def history(self, span: str) -> Json:
        length, step = RANGES[span]
        start = self.at - length
        times = [start + step * place for place in range(round(length / step))]
        bookings = Bookings(times, step, self._traffic)
        return {
            "range": span,
            "from": start,
            "to": self.at,
            "step": step,
            "times": times,
            "all": bookings.all(),
            "endpoints": {name: bookings.endpoint(name) for name in HOSTS if self._traffic and name not in self.unseen},
            "policies": {
                name: bookings.part(share) for name, share in (("balanced", 0.7), ("nitro", 0.2), ("exacto", 0.1))
            },
            "apps": {name: bookings.part(share) for name, share in self._apps.items()} if self._traffic else {},
            "keys": {},
            "days": {
                "all": self._days(None),
                "endpoints": {name: self._days(name) for name in HOSTS if name not in self.unseen},
            },
            "saved": {
                "prompt_cache_usd": bookings.saved * 0.61,
                "routing_usd": bookings.saved * 0.33,
                "response_cache_usd": bookings.saved * 0.06,
            }
            if self._traffic
            else {"prompt_cache_usd": None, "routing_usd": None, "response_cache_usd": None},
        }

    def _verdict(self, span: str) -> list[str]:
        if not self._traffic:
            return []
        total = self.history(span)["all"]["total"]
        return verdict(span, total["requests"], total["succeeded"] / total["requests"], total["effective_price"])

    def _days(self, name: str | None) -> list[Json]:
        return [self._day(name, place) for place in range(30)]

    def _day(self, name: str | None, place: int) -> Json:
        start = self.at - self.at % DAY - (29 - place) * DAY
        share, success = (1.0, 0.9996) if name is None else (HOSTS[name][6], HOSTS[name][7])
        rng = Random(f"{name} {place}")
        if not self._traffic or (name == "fireworks/bf16" and place < 9):
            return {"day": start, "attempts": 0, "judged": 0, "ok": 0, "requests": 0, "succeeded": 0, "worst": None}
        attempts = round(42_000 * share * (0.6 + 0.5 * rng.random()) * (0.7 if place % 7 in (5, 6) else 1))
        failing = (1 - success) * (0.3 + 1.4 * rng.random())
        if (name, place) in (("siliconflow/fp8", 19), ("parasail/fp8", 29), ("baidu/fp8", 8)):
            failing = 0.19
        failed = min(attempts, round(attempts * failing))
        worst = rng.choice(["timeout", "server", "overloaded", "rate_limit"]) if failed else None
        return {
            "day": start,
            "attempts": attempts,
            "judged": attempts,
            "ok": attempts - failed,
            "requests": attempts,
            "succeeded": attempts - failed,
            "worst": worst,
        }

    def prices(self) -> Json:
        return {
            "last_sync": self.at - 3.2 * DAY,
            "endpoints": {name: self._changes(name) for name in HOSTS},
        }

    def _changes(self, name: str) -> Json:
        _, price, cached, output, *_ = HOSTS[name]
        rng = Random(f"prices {name}")
        changes, times = [], sorted(rng.uniform(20, 150) for _ in range(rng.randrange(1, 4)))
        for place, days in enumerate(reversed(times)):
            factor = 1 + 0.06 * (len(times) - place) * rng.choice((1, 1, -0.5))
            source = "catalogue" if place == 0 else rng.choice(("litellm", "host", "file"))
            changes.append(_change(self.at - (days if place else 170) * DAY, source, price, cached, output, factor))
        changes.append(_change(self.at - 9.4 * DAY, "host", price, cached, output, 1.0))
        flags = []
        if name == "parasail/fp8":
            flags = [{"at": self.at - 3.2 * DAY, "kind": "zero", "text": "litellm lists 0 for output: not taken"}]
        if name == "baidu/fp8":
            flags = [{"at": self.at - 10.2 * DAY, "kind": "deprecated", "text": "the host ends it on 2027-01-31"}]
        return {"changes": changes, "flags": flags}

    def probes(self) -> Json:
        return {
            "budget": {"usd_per_day": 0.5, "spent_today": 0.173},
            "endpoints": {name: self._probed(name, rank) for rank, name in enumerate(HOSTS, 1)},
        }

    def limits(self) -> Json:
        """As on a page with an admin key."""
        day, month = self.at // DAY * DAY + DAY, self.at // DAY * DAY + 2 * DAY
        minute = self.at // 60 * 60 + 60
        expires = self.at + 62 * DAY
        rows: list[tuple[object, ...]] = [
            ("app", "nightly-report", None, None, "usd_per_day", 2.0, 2.0, day),
            ("key", "support", "3f2a9c1b", expires, "usd_per_month", 300.0, 281.44, month),
            ("group", "product", None, None, "usd_per_month", 1_000.0, 562.18, month),
            ("key", "support", "3f2a9c1b", expires, "requests_per_minute", 600, 214, minute),
            ("key", "search", "b81d07e4", None, "tokens_per_minute", 400_000, 61_920, minute),
            ("key", "search", "b81d07e4", None, "usd_per_day", 20.0, 1.37, day),
        ]
        fields = ("scope", "name", "hash", "expires", "limit", "bound", "used", "resets_at")
        limits = [dict(zip(fields, one, strict=True)) for one in rows]
        return {"limits": [{**one, "remaining": one["bound"] - one["used"]} for one in limits], "hidden": 0, "more": 0}

    def _probed(self, name: str, rank: int) -> Json:
        _, _, _, _, ttft, speed, share, success, _ = HOSTS[name]
        rng = Random(f"probes {name}")
        runs = []
        for place in range(28):
            failed = rng.random() > success - 0.02
            factor = 0.8 + 0.5 * rng.random()
            runs.append(
                {
                    "at": self.at - 1_500 - (27 - place) * DAY / 4,
                    "ttft": None if failed else ttft * factor,
                    "throughput": None if failed else speed / factor,
                    "seconds": None if failed else ttft * factor + 200 / speed * factor,
                    "outcome": "timeout" if failed else "ok",
                }
            )
        few = share < 0.001
        runs = runs[-2:] if few else runs
        good = [run for run in runs if run["outcome"] == "ok"]
        worse = name == "deepinfra/fp4"
        canaries = {
            canary: {
                "passed": (n := 3 if few else 24)
                - (2 if worse and canary == "tool_call" else rng.choice((0, 0, 0, 1))),
                "of": n,
                "last": self.at - 4_000,
                "drift": worse and canary == "tool_call",
                "mistake": "the argument unit was fahrenheit" if worse and canary == "tool_call" else "",
            }
            for canary in CANARIES
        }
        passed, of = sum(one["passed"] for one in canaries.values()), sum(one["of"] for one in canaries.values())
        return {
            "last": runs[-1]["at"],
            "runs": runs,
            "errors": len(runs) - len(good),
            "of": len(runs),
            "ttft": quantiles(len(good), ttft),
            "throughput": quantiles(len(good), speed, falling=True),
            "canaries": canaries,
            "score": passed / of,
            "rank": rank,
        }

    def exchanges(self, count: int = 60) -> list[Json]:
        return [self._exchange(place) for place in range(count)] if self._traffic else []

    def _exchange(self, place: int) -> Json:
        rng = Random(f"exchange {place}")
        weights = [one[6] for one in HOSTS.values()]
        endpoint = rng.choices(list(HOSTS), weights)[0]
        retried, hedged = place % 11 == 3, place % 9 == 2
        failed, cached = place % 29 == 7, place % 13 == 5
        ttft = HOSTS[endpoint][4] * rng.uniform(0.7, 1.6) * (4 if place % 17 == 4 else 1)
        completion = rng.randrange(40, 900)
        prompt = rng.randrange(300, 14_000)
        return {
            "id": f"gen-{1_000_000 - place}",
            "ended": self.at - 1.7 * place - rng.random(),
            "model": MODEL,
            "policy": rng.choice(["balanced"] * 6 + ["nitro", "nitro", "exacto", "floor"]),
            "app": rng.choice(list(self._apps)[:5]),
            "endpoint": None if failed or cached else endpoint,
            "endpoints": [] if cached else [endpoint] if not failed else [*list(HOSTS)[1:3], "novita/fp8"],
            "outcome": "server" if failed else "cached" if cached else "ok",
            "status": 502 if failed else 200,
            "attempts": 0 if cached else 3 if failed else 2 if retried or hedged else 1,
            "hedged": hedged and not failed and not cached,
            "retried": (retried or failed) and not cached,
            "slow": place % 17 == 4 and not cached,
            "ttft": None if failed else 0.004 if cached else ttft,
            "seconds": 4.1 if failed else 0.004 if cached else ttft + completion / HOSTS[endpoint][5],
            "prompt": 0 if failed else prompt,
            "cached": 0 if failed else round(prompt * rng.choice([0, 0, 0.5, 0.8])),
            "completion": 0 if failed else completion,
            "cost_usd": 0
            if failed or cached
            else prompt * HOSTS[endpoint][1] / 1e6 + completion * HOSTS[endpoint][3] / 1e6,
            "cache": "hit" if cached else "miss",
        }

    def exchange(self, name: str) -> Json:
        one = self._exchange(1_000_000 - int(name.removeprefix("gen-")))
        if one["cache"] == "hit":
            return {"exchange": one, "attempts": [], "plan": None}
        names = [host for host in HOSTS if host != one["endpoint"]]
        last = one["endpoint"] or names[0]
        attempts = []
        if one["attempts"] > 1:
            attempts.append(_failed(1, names[1], 0.0, 0.9, hedged=one["hedged"]))
        if one["attempts"] > 2:
            attempts.append(_failed(2, names[2], 0.95, 2.1, hedged=False))
        started = 0.95 * len(attempts)
        won = one["outcome"] == "ok"
        attempts.append(
            {
                "n": len(attempts) + 1,
                "endpoint": last,
                "started": started,
                "first_token": started + one["ttft"] if won else None,
                "ended": started + one["seconds"],
                "outcome": one["outcome"],
                "status": one["status"],
                "said": None if won else "upstream connect error or disconnect before headers",
                "hedge": "won" if one["hedged"] else "",
                "won": won,
                "tokens": one["completion"],
                "cost_usd": one["cost_usd"],
            }
        )
        return {"exchange": one, "attempts": attempts, "plan": _plan(one, attempts)}


def _idle(name: str, title: str, state: str, why: str, variable: str | None) -> Json:
    return {
        "id": name,
        "name": title,
        "provider": name.partition("/")[0],
        "quantization": name.partition("/")[2],
        "context": 131_072,
        "max_output": 8_192,
        "price": {"input": 0.28, "cached_input": 0.028, "output": 0.42, "as_of": "2026-11-23"},
        "in_flight": 0,
        "state": state,
        "why": why,
        "until": None,
        "published_uptime": None,
        "simulated": False,
        "capabilities": ["tools"],
        "set": variable,
    }


def _option(name: str, policy: str) -> Json:
    _, price, _, output, ttft, speed, _, success, _ = HOSTS[name]
    seconds = ttft + 200 / speed
    usd = (800 * price + 200 * output) / 1e6
    value = 0.6 if policy == "nitro" else 0.15  # dollars per hour
    return {
        "endpoint": name,
        "usd": usd,
        "seconds": seconds,
        "risk": 1 - success,
        "time_usd": seconds * value / 3600,
        "risk_usd": (1 - success) * 0.002,
    }


def _change(at: float, source: str, price: float, cached: float | None, output: float, factor: float) -> Json:
    return {
        "at": at,
        "source": source,
        "input": round(price * factor, 3),
        "cached_input": None if cached is None else round(cached * factor, 4),
        "output": round(output * factor, 3),
    }


def _failed(n: int, endpoint: str, started: float, ended: float, *, hedged: bool) -> Json:
    return {
        "n": n,
        "endpoint": endpoint,
        "started": started,
        "first_token": None,
        "ended": ended + (0.9 if hedged else 0.0),
        "outcome": "cancelled" if hedged else "overloaded" if n == 1 else "timeout",
        "status": None if hedged or n > 1 else 503,
        "said": None if hedged else "The service is temporarily overloaded" if n == 1 else "no first token in 1.2 s",
        "hedge": "beaten" if hedged else "",
        "won": False,
        "tokens": 0,
        "cost_usd": 0.0,
    }


def _plan(one: Json, attempts: list[Json]) -> Json:
    order = [attempt["endpoint"] for attempt in attempts]
    options = [_option(name, one["policy"]) for name in HOSTS if HOSTS[name][8] != "set back"]
    options.sort(
        key=lambda option: order.index(option["endpoint"]) if option["endpoint"] in order else 9 + option["usd"]
    )
    return {
        "model": MODEL,
        "policy": one["policy"],
        "prompt_tokens": one["prompt"],
        "expected_output_tokens": 320,
        "expected_rereads": 1.4,
        "picked_by": "best",
        "relaxed": None,
        "ranked": [
            {
                "endpoint": option["endpoint"],
                "odds": float(place == 0),
                "score_usd": option["usd"] + option["time_usd"] + option["risk_usd"],
                "expected_usd": option["usd"],
                "time_usd": option["time_usd"],
                "risk_usd": option["risk_usd"],
                "expected_cached_share": 0.4,
                "expected_ttft_s": 0.9,
                "expected_s": option["seconds"],
                "failure_probability": option["risk"],
                "behind_because": None,
            }
            for place, option in enumerate(options)
        ],
        "dropped": [{"endpoint": "parasail/fp8", "rule": "breaker", "detail": "set back: HTTP 503"}],
    }
