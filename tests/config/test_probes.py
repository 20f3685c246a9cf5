from pathlib import Path

import pytest

from gateway.config import ProbeSettings, load
from gateway.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


def test_they_are_off_by_default(tmp_path: Path) -> None:
    assert load(None, {}).probes == ProbeSettings(usd_per_day=0.0, interval=3_600.0)


def test_a_budget_and_an_interval(tmp_path: Path) -> None:
    found = load(written(tmp_path, "probes: {usd_per_day: $0.50, interval: 30m}\n"), {})
    assert found.probes == ProbeSettings(0.5, 1_800.0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("probes: {usd_per_day: 1}", "usd_per_day"),
        ("probes: {interval: 30}", "interval"),
        ("probes: {usd_per_day: $1, interval: 59s}", r"gateway.yaml:1:\d+: probes.interval: write at least `1m`"),
        ("probes: {budget: $1}", "unknown key"),
        ("keys: [{tenant: gateway-probe, key: k}]", "the tenant `gateway-probe` is the gateway's own"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(written(tmp_path, f"{text}\n"), {})


def test_a_key_from_the_environment_has_another_tenant_too() -> None:
    with pytest.raises(ConfigError, match="the gateway's own"):
        load(None, {"GATEWAY_API_KEYS": "gateway-probe:secret"})
