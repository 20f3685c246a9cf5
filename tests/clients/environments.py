"""Each real client in an environment of its own, made once and kept in `.clients/` beside the project's own.

Their dependencies disagree with each other and with ours. A lock keeps parallel test runs from making one twice.
"""

import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2] / ".clients"
MAKING = 300  # seconds that making one may take


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of an environment that holds exactly these pinned wheels and what they need."""
    with _making(name, requirements) as (folder, ready):
        python = folder / "bin" / "python"
        if not ready:
            _install(folder, ("--only-binary=:all:", *requirements))
        return python


def node_modules_with(name: str, *packages: str) -> Path:
    """A folder whose `node_modules` holds these pinned packages."""
    with _making(name, packages) as (folder, ready):
        if not ready:
            folder.mkdir(parents=True)
            (folder / "package.json").write_text('{"private": true, "type": "module"}')
            npm = shutil.which("npm") or "npm"
            _run(npm, "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", *packages, cwd=folder)
        return folder


@contextmanager
def _making(name: str, contents: tuple[str, ...]) -> Iterator[tuple[Path, bool]]:
    """The folder of an environment, and whether it already holds what is wanted. Half-made ones are made again."""
    ROOT.mkdir(exist_ok=True)
    folder, mark = ROOT / name, ROOT / f"{name}.made"
    wanted = " ".join(contents)
    with (ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = mark.exists() and mark.read_text() == wanted
        if not ready:
            mark.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
        yield folder, ready
        mark.write_text(wanted)


def _install(folder: Path, wheels: tuple[str, ...]) -> None:
    python = str(folder / "bin" / "python")
    if uv := shutil.which("uv"):
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", python, *wheels)
    else:  # without a pip of its own, and without bytecode for what is never imported: either takes seconds
        _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
        pip = (sys.executable, "-m", "pip", "--python", python)
        _run(*pip, "install", "--quiet", "--disable-pip-version-check", "--no-compile", *wheels)


def _run(*command: str, cwd: Path | None = None) -> None:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=MAKING, check=False)
    assert result.returncode == 0, f"{' '.join(command)}: {result.stderr}"
