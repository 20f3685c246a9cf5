"""`make fuzz`: everything that comes from outside, mutated for an hour. Crashes: 0."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from tests.reliability.fuzzing.run import TARGETS, run
from tests.reliability.page import Line

WHAT = {
    "http": "requests: HTTP heads and bodies, all routes",
    "hosts": "hosts' answers: reader and normaliser, for each kind of client",
    "policies": "policy files",
    "config": "gateway.yaml",
    "store": "replies and values of the store",
}


async def trial(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    tallies = await asyncio.to_thread(run, TARGETS, options.minutes, options.seed)
    targets = {
        name: {"executions": one.executions, "seconds": round(one.seconds, 1), "crashes": one.crashes}
        for name, one in tallies.items()
    }
    return {"command": f'make fuzz ARGS="--minutes {options.minutes:g} --seed {options.seed}"', "targets": targets}


def lines(record: dict[str, Any]) -> list[Line]:
    return [
        Line(
            f"{WHAT[name]}: no crash",
            f"{len(one['crashes'])} in {one['executions']:,} executions, {one['seconds'] / 60:.0f} min",
            not one["crashes"],
        )
        for name, one in record["targets"].items()
    ]
