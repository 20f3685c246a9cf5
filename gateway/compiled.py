"""Which build is running: Python files only, or the optional wheel with compiled modules.

    make compiled ──> hatch_build.py ──> a wheel with an extension module next to each Python file that is compiled

Python prefers the extension module where both are there.
"""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final


def _build() -> str:
    spec = find_spec("gateway.route.cost")  # any module that is compiled; it is looked up, not loaded
    assert spec is not None
    return "compiled" if str(spec.origin).endswith(tuple(EXTENSION_SUFFIXES)) else "pure Python"


BUILD: Final = _build()
