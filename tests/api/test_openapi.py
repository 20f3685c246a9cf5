"""The document that the gateway serves of itself, held against its routes and its answers.

schemathesis sends what the document allows, and much that it does not, to a running gateway in front of a simulated
host; whatever comes back must be as the document says. Its seed is fixed.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from gateway.server.admin_gate import KEYS
from gateway.server.worker_server import WORKER
from gateway.sim.host import serving
from tests.clients.app import KEY
from tests.clients.environments import python_with
from tests.sim.world import STEADY
from tests.support.gateway import DIRECT_ONLY, Gateway, Running

CHAT = "/api/v1/chat/completions"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = "2"  # of each operation, beside the systematic ones


async def document(running: Running) -> dict[str, Any]:
    answer = await running.client.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


@DIRECT_ONLY  # the document is Starlette's over either sink
async def test_it_describes_every_route_and_no_other(gateway: Gateway) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        described = await document(running)
        assert running.server is not None
        routes = running.server.lifespan.state[WORKER].configured.routes
    public = [route for route in routes if not route.path.startswith("/page/")]  # the page's own: docs/page.md
    served = {(route.path.replace(":path", ""), method.lower()) for route in public for method in route.methods or ()}
    told = {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert told == {one for one in served if one[1] != "head"}


@DIRECT_ONLY  # the document is Starlette's over either sink
async def test_every_route_is_summed_up_in_words(gateway: Gateway) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        described = await document(running)
    summaries = {
        (method, path): one["summary"]
        for path, methods in described["paths"].items()
        for method, one in methods.items()
    }
    assert all(len(said) > 5 and said[0].isupper() and not said.endswith(".") for said in summaries.values()), summaries
    assert summaries["post", "/v1/chat/completions"] == "Chat completion"
    assert summaries["get", "/api/v1/key"] == "What this key has spent"


@DIRECT_ONLY  # the document is Starlette's over either sink
async def test_a_route_that_takes_a_body_requires_it(gateway: Gateway) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        described = await document(running)
    operations = [one for methods in described["paths"].values() for one in methods.values()]
    assert {one["requestBody"]["required"] for one in operations if "requestBody" in one} == {True}


@DIRECT_ONLY  # the document is Starlette's over either sink
async def test_every_reference_leads_somewhere(gateway: Gateway) -> None:
    async with gateway({"own/fp8": "http://127.0.0.1:1"}) as running:
        described = await document(running)
    schemas = described["components"]["schemas"]
    used = set(references(described))
    assert used == {f"#/components/schemas/{name}" for name in schemas}


def references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [one for inner in part for one in references(inner)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if "$ref" in part else []
    return own + [one for inner in part.values() for one in references(inner)]


@DIRECT_ONLY  # both sinks answer alike, as other tests show, and this takes its time
async def test_answers_are_as_it_says(gateway: Gateway, valkey: str, tmp_path: Path) -> None:
    st = python_with("schemathesis", "schemathesis==4.32.5").with_name("st")
    file = tmp_path / "openapi.json"
    async with serving([STEADY], speed=0) as addresses:
        environ = {"GATEWAY_API_KEYS": f"app:{KEY}"}
        async with gateway({STEADY.id: addresses[STEADY.id]}, environ=environ, store=valkey) as running:
            file.write_text(json.dumps(shortened(await document(running))))
            process = await asyncio.create_subprocess_exec(
                *(str(st), "run", str(file), "--url", running.url, "-H", f"authorization: Bearer {KEY}"),
                *("--seed", "1", "--max-examples", EXAMPLES, "--checks", CHECKS, "--phases", "coverage,fuzzing"),
                *("--no-color", "--no-shrink", "--warnings", "off", "--request-timeout", "30"),
                *("--suppress-health-check", "all"),  # they are about time, and this machine may be busy
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=tmp_path,
            )
            out, _ = await asyncio.wait_for(process.communicate(), 280)
    assert process.returncode == 0, out.decode()


def shortened(described: dict[str, Any]) -> dict[str, Any]:
    """Of what is the same in several places one is enough: headers of POST routes, and most of these in OpenRouter's
    words. Each would multiply what is tried."""
    paths = described["paths"]
    for path in [path for path in paths if path.startswith("/api/") and "post" in paths[path]]:
        if path != CHAT:
            del paths[path]
    for path in [path for path in paths if path.startswith(KEYS)]:
        del paths[path]  # without the admin key they answer 403, whatever is sent
    for path, methods in paths.items():
        if "post" in methods and path != CHAT:
            del methods["post"]["parameters"]
    return described
