"""What a ledger row costs in the background: `python -m bench.shipping`.

    rows of a second ─> Ledger ─> Shipper.ship ─> the embedded store          in this process, but for the store

CPU time of this process and of the store, for one row, by rows a second. Several endpoints, policies, apps and keys, as
a busy gateway has them. Appending the rows is left out.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from gateway.state.embedded import EmbeddedStore
from gateway.state.folder import StateFolder
from gateway.state.link import Link
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.shipper import Shipper
from gateway.types import Row

RATES = (5, 50, 350, 1000)  # rows a second
ROWS = 12_000  # at each rate, at most
MOST_SECONDS = 60
ENDPOINTS, POLICIES, APPS, KEYS = 8, 4, 5, 3


def rows(count: int, since: float, rate: int, random: Random) -> Iterator[Row]:
    """Streamed exchanges, most of them good, that ended one after the other from the Unix time `since` on."""
    for number in range(count):
        exchange = f"gen-{int(since)}-{random.getrandbits(80):020x}"
        fails = random.random() < 0.05
        ttft, duration, tokens = random.uniform(0.2, 2), random.uniform(1, 20), random.randrange(20, 900)
        endpoint = f"host-{random.randrange(ENDPOINTS)}/fp8"
        yield Row(
            id=f"{exchange}-1",
            exchange=exchange,
            at=since + number / rate,
            tenant=f"team-{random.randrange(KEYS)}",
            app=f"https://app-{random.randrange(APPS)}.example",
            model="deepseek/deepseek-v3.2",
            policy=f"policy-{random.randrange(POLICIES)}",
            stream=True,
            endpoint=endpoint,
            provider=endpoint.partition("/")[0],
            attempt=1,
            outcome="server" if fails else "ok",
            status=500 if fails else 200,
            finish_reason="" if fails else "stop",
            ttft=None if fails else ttft,
            duration=duration,
            prompt_tokens=random.randrange(9000),
            completion_tokens=tokens,
            usage_source="host",
            cost=random.randrange(10**9),
            predicted_usd=random.randrange(10**9),
            predicted_s=duration,
            throughput=None if fails else tokens / duration,
            prompt_cost=random.randrange(10**8),
            last=True,
            client_status=503 if fails else 200,
            client_ttft=None if fails else ttft,
            client_duration=duration,
            overhead=0.0003,
        )


async def cost(rate: int, folder: Path, url: str, seconds: int) -> tuple[float, float]:
    """Microseconds of the worker's and of the store's CPU for a row, at so many rows a second for so many seconds."""
    random, now = Random(7), float(int(time.time()) // 60 * 60)
    ledger, ticks = Ledger(folder), [now]
    shipper, link = Shipper(folder, url, lambda _: None, clock=lambda: ticks[0]), Link(url, "bench", "down")
    before, own, shipped = await _store_cpu(link), 0.0, 0
    for _ in range(seconds):
        for row in rows(rate, ticks[0], rate, random):
            ledger.append(row)
        ticks[0] += 1.0
        started = time.process_time()
        await shipper.ship(whole=ticks[0] == now + seconds)
        own += time.process_time() - started
        shipped += rate
    store = await _store_cpu(link) - before
    shipper.close()
    link.close()
    ledger.close()
    return own / shipped * 1e6, store / shipped * 1e6


async def _store_cpu(link: Link) -> float:
    reply = await link.execute("INFO", "cpu")
    assert isinstance(reply, bytes)
    found = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.shipping", description=(__doc__ or "").split(":")[0])
    parser.add_argument("rates", nargs="*", type=int, default=RATES, help="rows a second; default: %(default)s")
    given = parser.parse_args()
    print("| rows/s | worker, µs a row | store, µs a row |\n|---:|---:|---:|")
    for rate in given.rates:
        with TemporaryDirectory(prefix="bench-") as name:
            state = StateFolder(Path(name))
            state.open()
            store = EmbeddedStore(state)
            try:
                seconds = min(MOST_SECONDS, max(2, ROWS // rate))
                own, other = asyncio.run(cost(rate, state.ledger, store.start(), seconds))
            finally:
                store.stop()
                state.close()
        print(f"| {rate} | {own:.1f} | {other:.1f} |", flush=True)


if __name__ == "__main__":
    main()
