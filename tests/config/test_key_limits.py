"""`keys[]` with limits and `limits:` in gateway.yaml: read, and refused with the place of the mistake."""

from pathlib import Path

import pytest

from gateway.config import Bounds, load
from gateway.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


def test_all_fields(tmp_path: Path) -> None:
    text = """\
keys:
  - tenant: a
    key: sk-a
    group: team
    policy: nitro
    policies: [nitro, floor]
    models: [deepseek-v3.2]
    expires: 2027-01-31
    limits: {requests_per_minute: 60, tokens_per_minute: 1000, usd_per_day: $1.5, usd_per_month: $20}
  - {tenant: a, key: sk-a2, expires: "2027-01-31T18:00+02:00"}
limits:
  without_store: closed
  groups: {team: {usd_per_month: $100}}
  apps: {"My App": {requests_per_minute: 5}}
"""
    settings = load(written(tmp_path, text), {})
    key, other = settings.keys
    assert key.limits == Bounds(60, 1000, 1.5, 20.0)
    assert (key.group, key.policies, key.models) == ("team", ("nitro", "floor"), ("deepseek-v3.2",))
    assert (key.expires, other.expires) == (1_801_353_600.0, 1_801_411_200.0)
    assert settings.limits.without_store == "closed"
    assert settings.limits.groups == {"team": Bounds(usd_per_month=100.0)}
    assert settings.limits.apps == {"My App": Bounds(requests_per_minute=5)}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("keys:\n  - {tenant: a, key: b, limits: {usd_per_day: 5}}", "2:47: usd_per_day: `5` needs a unit, as in `$5`"),
        ("keys:\n  - {tenant: a, key: b, limits: {requests: 5}}", "2:34: unknown key `requests`; write one of"),
        ("keys:\n  - {tenant: a, key: b, limits: {usd_per_day: $0}}", "2:47: usd_per_day: must be from $0.000001 to"),
        (
            "limits: {groups: {a: {usd_per_month: $5000000}}}",
            "1:38: usd_per_month: must be from $0.000001 to $4,000,000",
        ),
        ("limits: {apps: {a: {tokens_per_minute: 10000000000000}}}", "1:40: tokens_per_minute: must be from 1 to"),
        ('keys:\n  - {tenant: a, key: b, expires: "0001-01-01T00:00+23:59"}', "2:34: expires: write a date"),
        ("keys:\n  - {tenant: a, key: b, expires: soon}", "2:34: expires: write a date or time in UTC"),
        ("keys:\n  - {tenant: a, key: b, policy: x, policies: [y]}", "2:33: policy: `x` is not among `policies`"),
        ("limits: {without_store: maybe}", "1:25: without_store: unknown value `maybe`"),
        ("limits: {groups: {a: {usd_per_year: $1}}}", "1:23: unknown key `usd_per_year`; did you mean"),
        (
            "keys:\n  - {tenant: a, key: b, group: x}\n  - {tenant: a, key: c, group: y}",
            "tenant `a` has keys with different limits or groups",
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(written(tmp_path, text), {})
    assert problem in str(raised.value)
