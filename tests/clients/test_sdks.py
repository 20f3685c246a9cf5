"""The clients in docs/api.md: the table says what is pinned and tested, and the examples work."""

import re
from pathlib import Path

import pytest

from tests.clients.app import printed
from tests.clients.sdks import PINS, command_of
from tests.clients.test_loops import CLIENTS
from tests.support.gateway import DIRECT_ONLY, Gateway
from tests.support.host import ScriptedHost, answers, completion

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
_PIN = re.compile(r"(.+?)(?:==|(?<!^)@)(.+)")


def rows() -> list[list[str]]:
    section = DOCS.read_text().partition("## Clients")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def pinned(row: list[str]) -> tuple[str, ...]:
    """A row's packages with their versions, as pins without their sign."""
    return tuple(" ".join(pair) for pair in zip(re.findall("`(.+?)`", row[0]), row[1].split(", "), strict=True))


def without_sign(pins: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(found.groups()) for pin in pins if (found := _PIN.fullmatch(pin)))


def test_every_client_is_in_the_table_with_its_version() -> None:
    assert sorted(map(pinned, rows())) == sorted(map(without_sign, PINS.values()))


def test_the_table_has_base_urls_and_exceptions() -> None:
    told = {pinned(row): row for row in rows()}
    for client in CLIENTS:
        row = told[without_sign(PINS[client.sdk])]
        assert f"`{client.surface or '/'}`" in row[2]
        assert all(f"`{client.errors[status][0]}`" in row[3] for status in ("401", "404", "429", "5xx"))


@DIRECT_ONLY  # what is sent is what test_loops.py sends over either
@pytest.mark.parametrize("sdk", ["openrouter", "anthropic"])
async def test_the_examples_work_as_they_stand(gateway: Gateway, tmp_path: Path, sdk: str) -> None:
    (example,) = re.findall(rf"^```python\n(from {sdk} .*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    async with ScriptedHost(answers(200, completion("Hello"))) as host, gateway({"own/host": host.url}) as running:
        (tmp_path / "example.py").write_text(example.replace("http://127.0.0.1:8080", running.url))
        said = await printed(*command_of(sdk, str(tmp_path / "example.py")))
    content, cost = said.split()
    assert content == "Hello"
    assert float(cost) > 0
