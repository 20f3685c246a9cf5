import yaml

from gateway.sim.demofleet import FLEET, gateway_config


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
