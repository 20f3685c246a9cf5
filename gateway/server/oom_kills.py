"""Whether the kernel has killed a process for lack of memory: it says so only in counts.

memory.events of the container, vmstat of the machine ──> oom_kill: a number that grows
"""

from collections.abc import Sequence
from pathlib import Path

FILES = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


class OomKills:
    """The counts since the last look. Where there are none, it never saw one."""

    def __init__(self, files: Sequence[Path] = FILES) -> None:
        self._files = files
        self._seen = self._counts()

    def __repr__(self) -> str:
        return f"<OomKills {self._seen}>"

    def seen(self) -> bool:
        """Whether there was one since the last call."""
        before, self._seen = self._seen, self._counts()
        return any(now > then for now, then in zip(self._seen, before, strict=True))

    def _counts(self) -> list[int]:
        return [_count(path) for path in self._files]


def _count(path: Path) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
