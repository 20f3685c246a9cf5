from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.sim.fleetfile import RATE_LIMITED, endpoint, read_fleet, shipped
from gateway.sim.sim_host import CUT_SHARE, Incidents, Spread, Wait
from gateway.types import Price, Priors

ONE = """
hosts:
  - id: a/fp8
    name: A
    price: {input: 0.2, cached_input: 0.02, output: 0.4}
    ttft: {p50: 800ms, p90: 2s, p99: 5s}
    throughput: {p50: 26, p90: 41}
    uptime: 99%
"""


def written(folder: Path, text: str) -> str:
    path = folder / "fleet.yaml"
    path.write_text(text)
    return str(path)


def test_a_host_as_written(tmp_path: Path) -> None:
    more = "    rate_limited: 2%\n    hit_efficiency: 0%\n    cache_ttl: 1h\n    incidents: {every: 4d, median: 60m}\n"
    (host,) = read_fleet(written(tmp_path, ONE + more))
    assert (host.ttft, host.throughput) == (Wait(0.8, 2.0, 5.0), Spread(26.0, 41.0))
    assert host.rates.rate_limited == 0.02
    assert host.rates.cut == pytest.approx(0.01 * CUT_SHARE)
    assert host.rates.server_error + host.rates.cut == pytest.approx(0.01)
    assert (host.hit_efficiency, host.cache_ttl) == (0.0, 3600.0)
    assert host.incidents == Incidents(4 * 86_400.0, 3600.0)


def test_what_is_left_out_is_usual(tmp_path: Path) -> None:
    (host,) = read_fleet(written(tmp_path, ONE))
    assert (host.rates.rate_limited, host.hit_efficiency, host.incidents) == (RATE_LIMITED, 1.0, None)


def test_a_host_may_slow_down_with_load(tmp_path: Path) -> None:
    (host,) = read_fleet(written(tmp_path, ONE + "    load: {free: 8, per: 16}\n"))
    assert host.load is not None
    assert [host.load.factor(count) for count in (1, 8, 16)] == [1.0, 1.0, 1.5]


def test_figures_that_are_not_published_are_not_stated(tmp_path: Path) -> None:
    (host,) = read_fleet(written(tmp_path, ONE + "    published: false\n"))
    assert endpoint(host).priors == Priors()
    assert endpoint(host).price == host.price


def test_the_gateway_gets_what_a_catalogue_says(tmp_path: Path) -> None:
    (host,) = read_fleet(written(tmp_path, ONE))
    told = endpoint(host)
    assert (told.id, told.provider, told.price) == ("a/fp8", "a", Price(0.2, 0.4, 0.02))
    assert (told.priors.ttft_p50, told.priors.throughput_p50, told.priors.uptime) == (0.8, 26.0, 0.99)
    assert told.cache.ttl == host.cache_ttl


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_fleets_can_be_read(name: str) -> None:
    hosts = read_fleet(name)
    assert len({host.id for host in hosts}) == len(hosts) == {"real": 6, "wide": 15}[name]
    assert all(host.incidents and host.ttft.p50 < host.ttft.p90 for host in hosts)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ONE.replace("uptime", "uptimes"), r"fleet\.yaml:8:5: unknown key `uptimes`"),
        (ONE.replace("99%", "99"), r"fleet\.yaml:8:13: uptime: `99` needs a unit, as in `99%`"),
        (ONE.replace("99%", "101%"), r"fleet\.yaml:3:5: uptime and rate_limited are shares"),
        (ONE.replace("800ms", "0.8"), r"fleet\.yaml:6:17: p50: `0.8` needs a unit"),
        ("hosts: []", r"fleet\.yaml:1:8: hosts: empty"),
        (ONE + ONE.partition("hosts:\n")[2], r"`a/fp8` is defined twice"),
    ],
)
def test_mistakes_are_reported_where_they_stand(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read_fleet(written(tmp_path, text))


def test_an_unknown_fleet_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"--fleet reel: unknown fleet; did you mean `real`\? or give"):
        read_fleet("reel")
