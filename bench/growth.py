"""How memory grows with requests, all different: `growth`.

A block is 10,000 requests: 8,000 whole answers and 1,000 streams of 20 events for 1 KB, 1,000 whole answers for 16 KB.
After a block to warm up, ten blocks follow. The gateway's first process and what it started, its store, are read
apart. Caches that have a bound fill for a while, so the later half shows whether anything grows for ever.
"""

from collections.abc import Callable
from typing import Any

from bench import process
from bench.host import MockHost
from bench.load import Call, Load, run

BLOCKS = 10
PER_BLOCK = 10_000  # requests
PARTS = ((0.8, 1024, False), (0.1, 16 * 1024, False), (0.1, 1024, True))  # share, bytes of prompts, streamed
CONNECTIONS = 16
PART_WITHIN = 300.0  # seconds


def measure_growth(
    call: Callable[[int, bool], Call], host: MockHost, pid: int | None, per_block: int = PER_BLOCK
) -> dict[str, Any]:
    """`call` makes the call for a prompt's size and for whether it is streamed; without `pid` no memory is read."""
    host.behave(chunks=20)
    _block(call, per_block)
    memory = [_resident(pid)]
    errors = 0
    for _ in range(BLOCKS):
        errors += _block(call, per_block)
        memory.append(_resident(pid))
    record: dict[str, Any] = {"ok": BLOCKS * per_block - errors, "errors": errors}
    half = BLOCKS // 2
    for name, seen in zip(("gateway", "store"), zip(*memory, strict=True), strict=True):
        record[f"{name}_warm_mb"], record[f"{name}_after_mb"] = seen[0] / 1e6, seen[-1] / 1e6
        record[f"{name}_kb_per_1000"] = (seen[-1] - seen[0]) / (BLOCKS * per_block)
        record[f"{name}_later_kb_per_1000"] = (seen[-1] - seen[half]) / ((BLOCKS - half) * per_block)
    return record


def _resident(pid: int | None) -> tuple[int, int]:
    """Bytes of this process, and of all that it started."""
    if pid is None:
        return 0, 0
    own = process.rss([pid])
    return own, process.rss(process.tree(pid)) - own


def _block(call: Callable[[int, bool], Call], requests: int) -> int:
    """Makes the requests; how many failed."""
    errors = 0
    for share, size, stream in PARTS:
        part = Load(call(size, stream), CONNECTIONS, seconds=PART_WITHIN, requests=round(share * requests))
        errors += run(part).errors
    return errors
