import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

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
    assert set(services) == {"gateway", "valkey", "prometheus", "grafana"}
    assert [name for name, service in services.items() if "healthcheck" not in service] == []


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
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["python:3.13-slim"] * 2
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
