"""What processes cost, read from /proc: CPU time and memory of a process with all that it started; and where they run.

A store that a gateway starts beside itself is part of what the gateway costs, so every figure is of the whole tree.
"""

import os
import resource
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
STOPPED_WITHIN = 10.0  # seconds that a process gets to end by itself


def tree(pid: int) -> list[int]:
    """`pid`, its descendants, and what else runs in its session."""
    members = {pid}
    stats = {int(name): _stat(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    while True:
        more = {
            other
            for other, fields in stats.items()
            if fields and other not in members and (int(fields[1]) in members or int(fields[3]) == pid)
        }
        if not more:
            return sorted(members)
        members |= more


def cpu_by_name(pids: Iterable[int]) -> dict[str, float]:
    """CPU seconds (user + system) so far, summed by the processes' names."""
    sums: dict[str, float] = {}
    for pid in pids:
        fields = _stat(pid)
        if fields:
            name = _name(pid)
            sums[name] = sums.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICK
    return sums


def rss(pids: Iterable[int]) -> int:
    """Resident bytes, added up; pages that processes share count for each."""
    return sum(_resident(pid) for pid in pids)


def busy() -> float:
    """CPU seconds that the whole machine has worked since its start, idle and waiting left out."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def processors() -> tuple[int, int]:
    """The CPU of what is measured, and that of the harness: the first and last that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """This process on one CPU; what is started meanwhile stays there for good."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_many_files() -> None:
    """Raises this process's limit of open files, and its children's, as far as is permitted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def start(command: list[str], environ: Mapping[str, str], log: Path, cpu: int, cwd: Path) -> subprocess.Popen[bytes]:
    """A process in a session of its own on one CPU, which writes to `log`. Proxies of the environment are not used."""
    inherited = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with pinned(cpu), log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**inherited, **environ},
            cwd=cwd,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, politely at first, and all that it started."""
    members = {pid: _born(pid) for pid in tree(process.pid)}
    process.terminate()
    try:
        process.wait(STOPPED_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid, born in members.items():
        if born and _born(pid) == born:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _born(pid: int) -> str:
    """When the process started, which tells it from a later one with its number; empty when it is gone."""
    return next(iter(_stat(pid)[19:20]), "")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, group, session; none when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    except OSError:
        return "ended"


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
