"""What is measured: no gateway at all, ours with everything on in several situations, and its peers."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.launch import PEERS, Launch, Site
from bench.mock import MODEL
from bench.scenarios import COMPARED

ENDPOINTS = 8
PRICE = {"input": 0.25, "cached_input": 0.05, "output": 0.5}
SMALL = ("small-c1", "small-c16", "small-c64")


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure. `launch` is None for the host itself.

    `scenarios` narrows what is asked of it, `style` is the host's way of streaming, `unique` whether prompts differ.
    """

    name: str
    launch: Callable[[Site], Launch | None] | None
    scenarios: tuple[str, ...] | None = None
    style: str = "openai"
    tls: bool = False
    unique: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


def ours(site: Site, *, tls: bool = False, rewrite: bool = False, program: str = "gateway") -> Launch:
    """Our gateway as users start it: one worker, a key, 8 endpoints, `balanced`, the embedded store."""
    url = f"https://127.0.0.1:{site.tls_port}/v1" if tls else f"http://127.0.0.1:{site.host_port}/v1"
    dialect = {"reasoning_field": "reasoning", "null_usage": True} if rewrite else {}
    config = site.folder / "gateway.yaml"  # JSON is YAML
    config.write_text(json.dumps(configuration(url, dialect=dialect)))
    options = ["--config", str(config), "--state", str(site.folder / "state"), "--port", str(site.port)]
    environ = {"GATEWAY_API_KEYS": f"bench:{site.key}", "GATEWAY_REDIS_URL": "", "GATEWAY_STATE": ""}
    if tls:
        environ["SSL_CERT_FILE"] = str(site.certificate)
    return Launch([sys.executable, "-m", program, "serve", *options, "--workers", "1"], environ)


def configuration(
    url: str, endpoints: int = ENDPOINTS, policy: str = "balanced", dialect: Mapping[str, Any] = {}
) -> dict[str, Any]:
    """gateway.yaml for so many endpoints, all of them at `url`."""
    served = [_endpoint(f"m{number}", url, dialect) for number in range(1, endpoints + 1)]
    model = {"name": "DeepSeek V3.2", "context": 163_840, "created": 1_764_547_200, "aliases": [MODEL]}
    models = {f"deepseek/{MODEL}": {**model, "endpoints": served}}
    return {"catalogue": False, "default_policy": policy, "drain": {"notice": "0s"}, "models": models}


def _endpoint(name: str, url: str, dialect: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": name, "provider": name, "base_url": url, "model": MODEL, "price": PRICE, "dialect": dialect}


CACHED = {"x-gateway-cache": "on"}
ALL = (
    Subject("direct", None, COMPARED),
    Subject("ours", ours),
    Subject("ours-cache-miss", ours, SMALL, headers=CACHED),
    Subject("ours-cache-hit", ours, SMALL, headers=CACHED, unique=False),
    Subject("ours-rewrite", partial(ours, rewrite=True), ("small-c16", "paced"), style="reasoning"),
    Subject("ours-asgi", partial(ours, program="bench.asgi"), (*SMALL, "large-c4", "stream-c1", "paced")),
    Subject("ours-tls", partial(ours, tls=True), (*SMALL, "large-c4", "stream-c1", "paced", "crowd"), tls=True),
    *(Subject(name, launch, COMPARED) for name, launch in PEERS.items()),
)
SUBJECTS = {subject.name: subject for subject in ALL}
