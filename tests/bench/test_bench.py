"""The benchmark works: the mock host alone, for a moment, as `make bench` would run it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUARD = 60.0  # seconds after which the run hangs


def bench(*arguments: str) -> str:
    """What `python -m bench` prints."""
    command = [sys.executable, "-m", "bench", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=GUARD, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_short_run_prints_a_table_and_keeps_its_records(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"

    printed = bench("--subjects", "direct", "--scenarios", "small-c1,cancel", "--quick", "--out", str(raw))

    plain, cancel = map(json.loads, raw.read_text().splitlines())
    assert (plain["subject"], plain["scenario"], plain["errors"]) == ("direct", "small-c1", 0)
    assert plain["ok"] == plain["host_requests"] > 0
    assert plain["host_connections"] == 1
    assert (cancel["ok"], cancel["unseen"]) == (3, 0)
    table = printed[printed.index("###") :]
    assert "| direct |" in table
    assert bench("--report", str(raw)).strip() == table.strip()


def test_a_peer_that_is_absent_is_left_out_with_a_reason(tmp_path: Path) -> None:
    printed = bench("--subjects", "direct,smg", "--scenarios", "cancel", "--quick", "--peers", str(tmp_path))
    assert "- smg, start: not installed, left out; `make bench-peers` installs it" in printed
    assert "| smg |" not in printed


def test_a_stream_is_counted_whole(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"

    bench("--subjects", "direct", "--scenarios", "paced", "--quick", "--out", str(raw))

    paced = json.loads(raw.read_text())
    assert (paced["ok"], paced["errors"]) == (20, 0)
    assert paced["events"] == paced["ok"] * (paced["later_events"] + 1)


def test_streams_without_end_of_the_scenario_before_do_not_delay_the_next_start(tmp_path: Path) -> None:
    raw = tmp_path / "raw.jsonl"

    bench("--subjects", "direct,ours", "--scenarios", "cancel", "--quick", "--out", str(raw))

    records = [json.loads(line) for line in raw.read_text().splitlines()]
    assert [one["scenario"] for one in records if one["subject"] == "ours"] == ["start", "cancel"]
    assert not [one for one in records if "failed" in one]
