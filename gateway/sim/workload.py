"""Real arrivals and prefixes with generated words: a trace row becomes a chat request.

    {"t": 0.0, "input_tokens": 2290, "output_tokens": 316, "prefix_hashes": [0, 42, 43]}
        -> system: text of 0   user: text of 42   user: text of 43   max_tokens from 316

Each hash identifies the whole prefix up to its block, and each has one fixed text, so two requests share as many
leading messages as their rows share leading hashes: prompt caches and prefix affinity work as in the real traffic.
"""

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Any

import orjson

from gateway.errors import ConfigError
from gateway.sim.text import words

SAMPLE = Path(__file__).parent / "data" / "mooncake_sample.jsonl.gz"
TICK = 3.0  # seconds: the resolution of the trace's times
LONGEST_LINE = 64 * 1024
MOST_ROWS = 20_000
NAMES = 2**64  # the number of possible prefix hashes


@dataclass(frozen=True, slots=True)
class TraceRow:
    t: float  # seconds from the start of the trace
    input_tokens: int
    output_tokens: int
    prefix_hashes: tuple[int, ...]
    model: str = ""  # empty where the trace does not have it


@dataclass(frozen=True, slots=True)
class Scale:
    """Reduction of a trace.

    `time` 10 replays ten times faster, a block of the prompt becomes `chunk_words` words, and answers keep the share
    `output` of their length.
    """

    time: float = 1.0
    chunk_words: int = 40
    output: float = 1.0


def read_trace(path: Path = SAMPLE, limit: int = MOST_ROWS, model: str | None = None) -> list[TraceRow]:
    """The first `limit` rows of a JSON Lines trace, at most `MOST_ROWS`; gzip where its name ends in `.gz`.

    With a `model`, rows of other models are skipped. ConfigError names an invalid line, or an unreadable file.
    """
    rows: list[TraceRow] = []
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(_bounded(lines), start=1):
                if len(rows) == min(limit, MOST_ROWS):
                    break
                row = _row(line, f"{path}:{number}")
                if model is None or row.model in ("", model):
                    rows.append(row)
    except (OSError, EOFError) as problem:
        why = getattr(problem, "strerror", None) or problem
        raise ConfigError(
            f"{path}: cannot be read ({why}); record a trace with `gateway serve --record FILE`, or leave out `--trace`"
            " to replay the shipped sample"
        ) from None
    return sorted(rows, key=attrgetter("t"))  # a recording is ordered by the ends of the answers


def _bounded(lines: gzip.GzipFile | BufferedReader) -> Iterator[bytes]:
    while line := lines.readline(LONGEST_LINE):
        yield line


def _row(line: bytes, place: str) -> TraceRow:
    try:
        row = orjson.loads(line)
        hashes = tuple(int(name) for name in row["prefix_hashes"])
        if not all(0 <= name < NAMES for name in hashes):
            raise ValueError("prefix_hashes must be integers from 0 to 2^64 - 1")
        counts = int(row["input_tokens"]), int(row["output_tokens"])
        return TraceRow(float(row["t"]), *counts, hashes, str(row.get("model", "")))
    except (ValueError, KeyError, TypeError) as problem:
        raise ConfigError(
            f"{place}: not a trace row ({problem!r}); expected an object with t, input_tokens, output_tokens and "
            f"prefix_hashes on one line of at most {LONGEST_LINE} bytes"
        ) from problem


def spread(rows: Sequence[TraceRow], seed: int = 0) -> list[TraceRow]:
    """Spreads rows with the same tick over the time until the next tick, in their order. A single row keeps its
    time."""
    rng = Random(seed)
    ticks = [list(group) for _, group in groupby(rows, key=lambda row: row.t)]
    starts = [group[0].t for group in ticks]
    ends = [*starts[1:], starts[-1] + TICK] if ticks else []
    placed: list[TraceRow] = []
    for group, start, end in zip(ticks, starts, ends, strict=True):
        offsets = sorted(rng.uniform(0, min(TICK, end - start)) for _ in group) if len(group) > 1 else [0.0]
        placed += [replace(row, t=start + offset) for row, offset in zip(group, offsets, strict=True)]
    return placed


def chat_request(row: TraceRow, model: str, scale: Scale) -> dict[str, Any]:
    """The body of a chat completion with this row's prefixes and length, not streamed."""
    return {
        "model": model,
        "messages": messages(row.prefix_hashes, scale.chunk_words),
        "max_tokens": max(1, round(row.output_tokens * scale.output)),
    }


def messages(hashes: Sequence[int], chunk_words: int) -> list[dict[str, str]]:
    """One message for each hash: the first is the system's, the others the user's."""
    roles = ["system", *["user"] * (len(hashes) - 1)]
    return [{"role": role, "content": chunk(name, chunk_words)} for role, name in zip(roles, hashes, strict=False)]


def chunk(name: int, count: int) -> str:
    """The text of one block. The number in front makes short texts unique."""
    return f"Note {name}: {words(Random(name), count)}."
