"""The demo's gateway.yaml and its policies."""

from pathlib import Path

import yaml

from gateway.config import Settings, load
from gateway.config_check import check_config
from gateway.policy.policies import Policies
from gateway.sim.demofleet import FLEET, gateway_config, seed_policies


def seeded(folder: Path) -> tuple[Settings, Policies]:
    """What the demo's gateway reads."""
    config = folder / "gateway.yaml"
    config.write_text(gateway_config({host.id: "http://127.0.0.1:9000" for host in FLEET}))
    seed_policies(folder / "policies")
    return load(config, {}), Policies(folder / "policies")


def test_every_shipped_policy_can_serve(tmp_path: Path) -> None:
    settings, policies = seeded(tmp_path)
    found = check_config(settings, policies.current)
    assert (found.problems, found.warnings) == ((), ())


def test_ids_are_simulated_and_providers_named_as_elsewhere(tmp_path: Path) -> None:
    (model,) = seeded(tmp_path)[0].models
    assert all(one.id.startswith("sim-") and one.name.endswith(" (simulated)") for one in model.endpoints)
    assert {"novita", "deepinfra"} < {one.provider for one in model.endpoints}


def test_config_lists_the_running_hosts_and_no_real_ones() -> None:
    addresses = {host.id: f"http://127.0.0.1:{9000 + index}" for index, host in enumerate(FLEET[:3])}
    config = yaml.safe_load(gateway_config(addresses))
    endpoints = config["models"]["deepseek/deepseek-v3.2"]["endpoints"]
    assert config["catalogue"] is False
    assert [endpoint["id"] for endpoint in endpoints] == list(addresses)
    assert endpoints[1]["base_url"] == "http://127.0.0.1:9001/v1"
    assert endpoints[1]["price"]["cached_input"] == FLEET[1].price.cached_input
    assert endpoints[1]["cache"] == {"automatic": True, "ttl": "3600s"}
    assert all(endpoint["status"] == "self_hosted" for endpoint in endpoints)
