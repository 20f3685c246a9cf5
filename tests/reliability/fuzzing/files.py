"""The files that an operator writes: policies and gateway.yaml, mutated as text and as trees.

Whatever is in a file, it is read or refused with a ConfigError whose lines name a place; a refusal shows no secret.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from gateway.config import load
from gateway.document import read
from gateway.errors import ConfigError
from gateway.policy.policies import shipped_folder
from gateway.policy.policy_document import read_policy
from gateway.types import Policy
from tests.reliability.fuzzing.mutated import mutated_bytes, mutated_trees
from tests.reliability.fuzzing.target import Check, Target, as_json

SECRET = "sk-fuzz-5f2c9a"
PLACED = re.compile(r"[^\n]+\Z")
POLICIES = [path.read_bytes() for path in sorted(shipped_folder().glob("*.yaml"))]
POLICY_TREES: list[Any] = [yaml.safe_load(text) for text in POLICIES]
CONFIG: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 8080,
    "workers": 2,
    "redis": {"url": f"redis://user:{SECRET}@localhost:6379/0"},
    "keys": [{"tenant": "team", "key": SECRET, "policy": "floor"}],
    "default_policy": "balanced",
    "rules": [{"when": {"tenant": "team", "prompt_tokens": ">= 1000"}, "policy": "floor"}],
    "log_format": "json",
    "max_body": "16MB",
    "allowed_hosts": ["gateway.example"],
    "cors": ["https://chat.example"],
    "claude": {"opus": "exacto"},
    "probes": {"usd_per_day": "$1", "interval": "5m"},
    "prices": {"sync": "off"},
    "catalogue": False,
    "models": {
        "deepseek/deepseek-v3.2": {
            "name": "DeepSeek V3.2",
            "context": 163_840,
            "aliases": ["deepseek-v3.2"],
            "endpoints": [
                {
                    "id": "own/fp8",
                    "provider": "vllm",
                    "base_url": "http://127.0.0.1:1/v1",
                    "model": "m",
                    "price": {"input": 0.25, "cached_input": 0.05, "output": 0.5},
                    "supports": ["tools"],
                    "dialect": {"thinking": "enable_thinking", "thinking_default": "off"},
                    "cache": {"automatic": True, "ttl": "300s"},
                    "priors": {"ttft_p50": "1s", "throughput_p50": 40, "uptime": "99%", "as_of": "2026-11-01"},
                }
            ],
        }
    },
}
VALUES = (
    "10s",
    "$1",
    "5%",
    "<= 8s",
    ">= 1",
    "best",
    "sample",
    "off",
    "1h",
    "16MB",
    "novita/fp8",
    "http://[",
    "*",
    SECRET,
)
KEYS = ("name", "prefer", "require", "hedge", "cap", "score", "timeouts", "pick", "order", "id", "url", "price", "when")
WORDS = [
    b": ",
    b"- ",
    b"\n",
    b"  ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"&a ",
    b"*a",
    b"!!python/object:x ",
    b"|",
    b">",
    b"#",
    b"%",
]
WORDS += [b"<<: ", b"? ", b"---\n", b"\t", b"\xff", b"\xef\xbb\xbf", b"~", b"0x1f", b"1e400", b".nan", b"2026-01-01"]

policies = st.one_of(
    mutated_bytes(POLICIES, WORDS), mutated_trees(POLICY_TREES, VALUES, KEYS).map(as_json), st.binary(max_size=60)
)
TEXT = yaml.safe_dump(CONFIG, sort_keys=False).encode()
configs = st.one_of(
    mutated_bytes([TEXT], WORDS), mutated_trees([CONFIG], VALUES, KEYS).map(as_json), st.binary(max_size=60)
)


@contextmanager
def _open_policies() -> Iterator[Check]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "fuzz.yaml"

        def check(text: bytes) -> None:
            path.write_bytes(text)
            try:
                policy = read_policy(read(path), path.stem)
            except ConfigError as error:
                _refused(error)
                return
            assert isinstance(policy, Policy)

        yield check


@contextmanager
def _open_configs() -> Iterator[Check]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "gateway.yaml"

        def check(text: bytes) -> None:
            path.write_bytes(text)
            try:
                settings = load(path, {"GATEWAY_API_KEYS": f"other:{SECRET}2"})
            except ConfigError as error:
                _refused(error)
                return
            assert SECRET not in repr(settings)

        yield check


def _refused(error: ConfigError) -> None:
    assert error.problems
    for problem in error.problems:
        assert PLACED.match(problem), problem


POLICY_FILES = Target("policies", policies, _open_policies, batch=500)
CONFIG_FILES = Target("config", configs, _open_configs, batch=100)
