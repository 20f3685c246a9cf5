"""PromQL of the dashboards.

Every selector begins with the labels that the dashboard's variables choose: job and instance, then model and policy of
a request, or policy and endpoint of an attempt. The values of `$endpoint` are the endpoints of `$model`, so attempts
are filtered by the model, too.
"""

from gateway.types import OUTCOMES, counts

GATEWAY = 'job=~"$job",instance=~"$instance"'
EXCHANGE = f'{GATEWAY},model=~"$model",policy=~"$policy"'
POLICY = f'{GATEWAY},policy=~"$policy"'
ATTEMPT = f'{GATEWAY},policy=~"$policy",endpoint=~"$endpoint"'
ENDPOINT = f'{GATEWAY},endpoint=~"$endpoint"'
COUNTED = f'outcome!~"{"|".join(outcome for outcome in OUTCOMES if not counts(outcome))}"'  # in a success rate

REQUESTS = "gateway_requests_total"
ATTEMPTS = "gateway_attempts_total"
TOKENS = "gateway_tokens_total"
COST = "gateway_cost_usd_total"
CACHE = "gateway_cache_requests_total"
TTFT = "gen_ai_server_time_to_first_token_seconds"
TPOT = "gen_ai_server_time_per_output_token_seconds"
DURATION = "gen_ai_server_request_duration_seconds"
ATTEMPT_TTFT = "gateway_attempt_ttft_seconds"
THROUGHPUT = "gateway_attempt_throughput_tokens_per_second"
PAID = 'kind=~"prompt|completion"'  # cached tokens are part of the prompt, reasoning is part of the completion

STEP = "$__rate_interval"  # of graphs
RANGE = "$__range"  # of figures and tables


def total(metric: str, labels: str, by: str = "", per: str = STEP) -> str:
    """Per second."""
    return f"sum{_by(by)} (rate({metric}{{{labels}}}[{per}]))"


def grown(metric: str, labels: str, by: str = "", over: str = RANGE) -> str:
    """The increase over a time."""
    return f"sum{_by(by)} (increase({metric}{{{labels}}}[{over}]))"


def active(metric: str, labels: str, by: str) -> str:
    """Per second, of the series that are not 0 in the whole range; without any, one series named `none`."""
    seen = f"sum{_by(by)} (increase({metric}{{{labels}}}[{RANGE}] @ end())) > 0"
    return present(total(metric, labels, by), seen, by.split(",")[0], 0)


def present(expression: str, seen: str, label: str, empty: int) -> str:
    """The series that `seen` has; where it has none, one series named `none` with the value `empty`."""
    none = f'label_replace(vector({empty}), "{label}", "none", "", "")'
    return f"({expression} and ({seen})) or on () ({none} unless on () ({seen}))"


def or_none(expression: str, label: str) -> str:
    """The series, or one named `none` at 0 where there is none."""
    return f'{expression} or on () label_replace(vector(0), "{label}", "none", "", "")'


def quantile(q: float, metric: str, labels: str, by: str = "", per: str = STEP) -> str:
    return f"histogram_quantile({q}, {total(f'{metric}_bucket', labels, f'le, {by}' if by else 'le', per)})"


def answered(by: str = "", per: str = STEP) -> str:
    """Requests that were answered, as a share of those that the client neither spoilt nor cancelled."""
    return _share(REQUESTS, EXCHANGE, 'outcome=~"ok|cached"', by, per)


def succeeded(by: str = "", per: str = STEP) -> str:
    """Successful attempts, as a share of those that count for the endpoint."""
    return _share(ATTEMPTS, ATTEMPT, 'outcome="ok"', by, per)


def cached_share(by: str = "", per: str = STEP) -> str:
    """Prompt tokens that were read from the hosts' caches."""
    cached, prompt = (total(TOKENS, f'{ATTEMPT},kind="{kind}"', by, per) for kind in ("cached", "prompt"))
    return f"{cached} / ({prompt} > 0)"


def hit_share(by: str = "", per: str = STEP) -> str:
    """Answers from the response cache, as a share of the requests that looked there."""
    hits, looked = (total(CACHE, labels, by, per) for labels in (f'{EXCHANGE},result="hit"', EXCHANGE))
    return f"{hits} / ({looked} > 0)"


def effective_price(by: str = "", per: str = STEP) -> str:
    """Dollars per million tokens, prompt and completion together."""
    tokens = total(TOKENS, f"{ATTEMPT},{PAID}", by, per)
    return f"1e6 * {total(COST, ATTEMPT, by, per)} / ({tokens} > 0)"


def limit(name: str) -> str:
    """A limit of the alerts."""
    return f'max(gateway:limit{{limit="{name}"}})'


def or_zero(expression: str) -> str:
    return f"{expression} or vector(0)"


def _share(metric: str, labels: str, good: str, by: str, per: str) -> str:
    well, judged = (total(metric, f"{labels},{outcome}", by, per) for outcome in (good, COUNTED))
    return f"({well} or 0 * {judged}) / ({judged} > 0)"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
