"""The optional wheel with compiled modules: mypyc compiles them, gcc builds what it writes.

    make compiled ──> this hook ── mypyc ──> C ── gcc ──> dist/llm_routing_gateway-…-linux_x86_64.whl

The wheel holds the Python files too. Without this hook, the default, it holds nothing else: no compiler is needed.
`docs/decisions/0021-an-optional-compiled-wheel.md` says why.
"""

import os
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMPILED = (
    "gateway/route",
    "gateway/repair",
    "gateway/types/finish_reason.py",
    "gateway/upstream",
    "gateway/proxy",
    "gateway/intake",
)

_STRUCT = "mypyc ignores the keywords of msgspec.Struct and blunts its annotations: it would be decoded otherwise"
_SUBCLASSED = "tests put a subclass in its place, which a compiled class does not allow"
_CHECKED = "an attribute is narrowed to a type that it does not keep, which mypyc checks at run time"
_RARE = "runs for endpoints with `adapter: litellm` only, and mypyc knows no asynchronous generators"

INTERPRETED = {
    "gateway/route/explore.py": "tests put a stand-in in the place of a plan's figures",
    "gateway/route/breaker.py": _STRUCT,
    "gateway/route/hedge.py": _SUBCLASSED,
    "gateway/route/minute.py": _STRUCT,
    "gateway/route/ratelimit.py": _STRUCT,
    "gateway/route/shared.py": _STRUCT,
    "gateway/route/toll.py": _STRUCT,
    "gateway/upstream/transport/connection.py": _CHECKED,
    "gateway/upstream/dialects.py": "tests give it None for the bool `Request.thinking`",
    "gateway/intake/body.py": _STRUCT,
    "gateway/intake/field_types.py": _STRUCT,
    "gateway/intake/model_and_policy.py": _STRUCT,
    "gateway/intake/options_types.py": _STRUCT,
    "gateway/intake/prompt.py": _STRUCT,
    "gateway/proxy/recent_exchanges.py": _STRUCT,
    "gateway/proxy/under_way.py": "mypyc knows no subclasses of `set`",
    "gateway/proxy/timer_wheel.py": _SUBCLASSED,
    "gateway/repair/tool_call_markup.py": _CHECKED,
    "gateway/repair/lenient_json.py": "mypyc knows no surrogates in texts",
    "gateway/upstream/litellm_adapter.py": _RARE,
    "gateway/upstream/litellm_answer.py": _RARE,
    "gateway/upstream/litellm_call.py": _RARE,
    "gateway/upstream/litellm_library.py": _RARE,
    "gateway/upstream/litellm_request.py": _RARE,
    "gateway/upstream/transport/tls.py": "mypyc does not construct subclasses of classes written in C",
    "gateway/upstream/transport/transport.py": _SUBCLASSED,
    "gateway/upstream/transport/tunnel.py": "runs when a connection is made through a proxy only; tests replace a part",
    "gateway/upstream/answer_types.py": _STRUCT,
    "gateway/upstream/passthrough.py": _STRUCT,
}


def compiled() -> list[str]:
    """The paths of the modules that are compiled, relative to the root."""
    rooms = [Path(room) for room in COMPILED]
    found = [path for room in rooms for path in (sorted(room.rglob("*.py")) if room.is_dir() else [room])]
    return [str(path) for path in found if path.name != "__init__.py" and str(path) not in INTERPRETED]


class CustomBuildHook(BuildHookInterface):  # the name that hatchling looks for
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = Path(mkdtemp(prefix="compiled-"))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        os.chdir(self.root)
        for path in _build(folder):
            build_data["force_include"][str(path)] = str(path.relative_to(folder / "lib"))


def _build(folder: Path) -> list[Path]:
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext

    extensions = mypycify(compiled(), target_dir=str(folder / "c"), opt_level="2", debug_level="0")
    for extension in extensions:
        extension.extra_compile_args.append("-U__unix")  # a macro of gcc, and what mypyc calls an attribute `_unix`
    command = build_ext(Distribution({"name": "gateway", "ext_modules": extensions}))
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
    command.ensure_finalized()
    command.run()
    return sorted((folder / "lib").rglob("*.so"))
