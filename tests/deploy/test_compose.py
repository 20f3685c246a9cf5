import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
import yaml

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return found


def test_compose_file_fits_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, "docker-compose.yml"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_service_can_be_seen_to_work(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"usage", "gateway", "demo", "valkey", "prometheus", "grafana"}
    assert [name for name, service in services.items() if "healthcheck" not in service] == ["usage"]


def test_a_profile_is_a_gateway_with_all_that_it_needs(services: dict[str, dict[str, Any]]) -> None:
    """Without a profile no gateway starts: one of neither kind would be of no use."""
    started = {
        profile: {name for name, service in services.items() if profile in service.get("profiles", ())}
        for profile in ("hosts", "demo")
    }
    rest = {"valkey", "prometheus", "grafana"}
    assert started == {"hosts": {"gateway", *rest}, "demo": {"demo", *rest}}
    for profile, names in started.items():
        for name in names:
            for other, condition in services[name].get("depends_on", {}).items():
                assert other in names or condition["required"] is False, (profile, name, other)


def test_a_plain_up_says_what_to_do(services: dict[str, dict[str, Any]]) -> None:
    (name,) = [name for name, service in services.items() if "profiles" not in service]
    command, text = services[name]["command"]
    assert (name, command, "restart" in services[name]) == ("usage", "echo", False)
    assert "docker compose --profile demo up --build" in text
    assert "COMPOSE_PROFILES=hosts" in text


def test_the_demo_takes_the_place_of_the_gateway_and_needs_no_key(services: dict[str, dict[str, Any]]) -> None:
    demo, gateway = services["demo"], services["gateway"]
    assert "gateway" in demo["networks"]["default"]["aliases"], "Prometheus looks for that name"
    assert "env_file" not in demo
    assert "environment" not in demo
    for same in ("build", "ports", "healthcheck", "read_only", "tmpfs", "cap_drop", "security_opt"):
        assert demo[same] == gateway[same]
    assert demo["command"][-1] != gateway["environment"]["GATEWAY_REDIS_URL"], "simulated figures stay apart"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A path so short that sockets of the demo fit below it, unlike pytest's own in a worker of xdist."""
    with TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


async def test_the_command_of_the_demo_works_as_it_is_written(
    services: dict[str, dict[str, Any]], valkey: str, short_folder: Path
) -> None:
    """As a process and not in a container: with this Valkey's address, another port, and hosts that do not wait."""
    port = free_port()
    written = {"8080": str(port), "redis://valkey:6379/1": valkey}
    command = [written.get(word, word) for word in services["demo"]["command"]]
    environ = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(short_folder),
        "TMPDIR": str(short_folder),
    }
    demo = await asyncio.create_subprocess_exec(
        *command, "--host-speed", "20", env=environ, stdout=asyncio.subprocess.PIPE
    )
    assert demo.stdout is not None
    try:
        said = (await asyncio.wait_for(demo.stdout.readuntil(b" failed, "), 120)).decode()
        assert "the hosts invent" in said
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            ready = await client.get("/health/ready")
            assert (ready.status_code, ready.json()["store"]) == (200, "up")
            scraped = await client.get("/metrics", headers={"host": "gateway:8080", "authorization": "Bearer none"})
            assert "gateway_endpoint_info{" in scraped.text
    finally:
        demo.terminate()
        await asyncio.wait_for(demo.communicate(), 60)
    assert demo.returncode == 0


def test_prometheus_has_the_admin_key(services: dict[str, dict[str, Any]]) -> None:
    """Its file in the container; in the checkout a placeholder stands there, so that the file can be checked."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    (config,) = services["prometheus"]["configs"]
    assert compose["configs"][config["source"]]["content"] == "${GATEWAY_ADMIN_KEY:-none}"
    (scrape,) = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text())["scrape_configs"]
    named = scrape["authorization"]["credentials_file"]
    assert os.path.normpath(f"/etc/prometheus/{named}") == config["target"]
    assert (ROOT / "grafana/prometheus" / named).read_text() == "none\n"


def test_every_mounted_file_exists(services: dict[str, dict[str, Any]]) -> None:
    sources = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())]
    missing = [source for source in sources if source.startswith("./grafana") and not (ROOT / source).exists()]
    assert missing == []
    assert "./policies" in sources


def test_nothing_is_published_beyond_loopback(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_images_are_pinned_and_secrets_absent(services: dict[str, dict[str, Any]]) -> None:
    images = [service["image"] for service in services.values() if "image" in service]
    assert [image for image in images if not re.search(r":v?\d", image)] == []
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"(?i)(password|secret|token)\s*[:=]\s*\S", text)


def test_prometheus_scrapes_the_port_that_the_gateway_listens_on(services: dict[str, dict[str, Any]]) -> None:
    config = yaml.safe_load((ROOT / "grafana/prometheus/prometheus.yml").read_text())
    (target,) = config["scrape_configs"][0]["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert services[name]["command"][services[name]["command"].index("--port") + 1] == port


def test_the_image_is_debian_unprivileged_and_hashed() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["${PYTHON}"] * 2
    assert "\nARG PYTHON=python:3.13-slim\n" in text, "a digest may take its place"
    assert "--require-hashes" in text
    build, _, image = text.rpartition("\nFROM ")
    assert "gcc" in build
    assert "gcc" not in image
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001:10001"]
    assert "/health/ready" in text


def test_the_image_takes_nothing_that_no_lock_file_pins() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", " ")
    commands = re.findall(r"pip install .*?(?=&&|\n)", text)
    assert len(commands) == 3
    for command in commands:
        assert "--no-index" in command or "--require-hashes" in command, command


def test_the_build_context_holds_what_the_image_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert "*" in lines
    assert {name for copy in copies for name in copy.split()} == allowed
