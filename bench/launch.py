"""How each peer is started in front of the mock host: its own way of saying "one host, one core, no logs".

site -> Launch(command, environ, headers)       None when the peer is not installed
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.mock import MODEL
from bench.peers import portkey_shim, program

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_max_body_size 16m;
  client_body_buffer_size 1m;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream hosts {{
    server 127.0.0.1:{host_port};
    keepalive 2048;
    keepalive_requests 100000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://hosts;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""
ROLTER = """\
[server]
host = "127.0.0.1"
port = {port}

[[virtual_keys]]
name = "bench"
key = "{key}"

[[providers]]
name = "host"
kind = "openai"
api_base = "http://127.0.0.1:{host_port}/v1"
api_key_env = "HOST_KEY"

[[routes]]
model = "{model}"
strategy = "round_robin"

[[routes.targets]]
provider = "host"
model = "{model}"
weight = 1
"""
ENVOY_TYPES = "type.googleapis.com/envoy.extensions.filters"


@dataclass(frozen=True, slots=True)
class Site:
    """What a subject is given: its folder, free ports, where host and peers are, the key that clients send."""

    folder: Path
    peers: Path
    port: int
    spare_port: int
    host_port: int
    tls_port: int | None
    certificate: Path
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line with what the environment and requests need beside."""

    command: list[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str = MODEL


def nginx(site: Site) -> Launch | None:
    found = program("nginx", site.peers)
    if found is None:
        return None
    config = site.folder / "nginx.conf"
    config.write_text(NGINX.format(folder=site.folder, port=site.port, host_port=site.host_port))
    return Launch([str(found), "-p", str(site.folder), "-c", str(config)])


def envoy(site: Site) -> Launch | None:
    found = program("envoy", site.peers)
    if found is None:
        return None
    config = site.folder / "envoy.json"
    config.write_text(json.dumps({"static_resources": {"listeners": [_listener(site)], "clusters": [_cluster(site)]}}))
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return Launch([str(found), "--config-path", str(config), *options])


def vllm_router(site: Site) -> Launch | None:
    found = program("vllm-router", site.peers)
    return Launch([str(found), *_router(site, "warning")]) if found else None


def sglang_router(site: Site) -> Launch | None:
    found = program("sglang-router", site.peers)
    return Launch([str(found), "launch", *_router(site, "warn")]) if found else None


def smg(site: Site) -> Launch | None:
    found = program("smg", site.peers)
    return Launch([str(found), "launch", *_router(site, "warn")]) if found else None


def portkey(site: Site) -> Launch | None:
    found = program("portkey", site.peers)
    if found is None:
        return None
    command = ["node", "--require", str(portkey_shim(site.peers)), str(found), f"--port={site.port}", "--headless"]
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{site.host_port}/v1"}
    return Launch(command, {"NODE_ENV": "production"}, headers)


def ferrogw(site: Site) -> Launch | None:
    """It serves the models of its own list only, so clients name one of those. It checks the key."""
    found = program("ferrogw", site.peers)
    if found is None:
        return None
    environ = {
        "PORT": str(site.port),
        "MASTER_KEY": site.key,
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{site.host_port}",
        "RATE_LIMIT_RPS": "0",
        "LOG_LEVEL": "error",
    }
    return Launch([str(found), "serve"], environ, model="gpt-4o")


def rolter(site: Site) -> Launch | None:
    found = program("rolter", site.peers)
    if found is None:
        return None
    config = site.folder / "rolter.toml"
    config.write_text(ROLTER.format(port=site.port, host_port=site.host_port, key=site.key, model=MODEL))
    return Launch([str(found), "gateway", "-c", str(config)], {"HOST_KEY": "none", "RUST_LOG": "error"})


def litellm(site: Site) -> Launch | None:
    """Its proxy refuses to start without a strong master key, so it checks keys as ours does."""
    found = program("litellm", site.peers)
    if found is None:
        return None
    params = {"model": f"openai/{MODEL}", "api_base": f"http://127.0.0.1:{site.host_port}/v1", "api_key": "none"}
    models = [{"model_name": MODEL, "litellm_params": params}]
    config = site.folder / "litellm.yaml"  # JSON is YAML
    config.write_text(json.dumps({"model_list": models, "litellm_settings": {"telemetry": False, "num_retries": 0}}))
    options = ["--config", str(config), "--host", "127.0.0.1", "--port", str(site.port), "--num_workers", "1"]
    environ = {
        "LITELLM_MASTER_KEY": site.key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        "DO_NOT_TRACK": "1",
    }
    return Launch([str(found), *options], environ)


PEERS: Mapping[str, Callable[[Site], Launch | None]] = {
    "nginx": nginx,
    "envoy": envoy,
    "vllm-router": vllm_router,
    "sglang-router": sglang_router,
    "smg": smg,
    "rolter": rolter,
    "ferrogw": ferrogw,
    "portkey": portkey,
    "litellm": litellm,
}


def _router(site: Site, level: str) -> list[str]:
    """The options that the three routers for inference engines share."""
    where = ["--host", "127.0.0.1", "--port", str(site.port), "--prometheus-port", str(site.spare_port)]
    workers = ["--worker-urls", f"http://127.0.0.1:{site.host_port}", "--policy", "round_robin"]
    return [*workers, *where, "--log-level", level]


def _listener(site: Site) -> dict[str, object]:
    """Envoy's listener: all paths go to the one cluster."""
    router = {"name": "router", "typed_config": {"@type": f"{ENVOY_TYPES}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "hosts", "timeout": "60s"}}
    manager = {
        "@type": f"{ENVOY_TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [router],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"address": _address(site.port), "filter_chains": [{"filters": filters}]}


def _cluster(site: Site) -> dict[str, object]:
    endpoint = {"endpoint": {"address": _address(site.host_port)}}
    limits = {"max_connections": 8192, "max_pending_requests": 8192, "max_requests": 8192}
    return {
        "name": "hosts",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "hosts", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [limits]},
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
