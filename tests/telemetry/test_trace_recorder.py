"""A recording holds lengths, times and salted names; it can be replayed, and nothing can be read from it."""

import logging
import os
import re
import resource
import stat
from itertools import takewhile
from math import ceil
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.intake.prefix import prefix_chain
from gateway.intake.prompt import read_prompt
from gateway.sim.workload import read_trace
from gateway.state.conditions import Conditions
from gateway.telemetry.trace_recorder import BLOCK, MOST_QUEUED, NAME_BYTES, TraceRecorder, begin, block_names
from gateway.types import Recording, Request
from tests.support.gateway import gateway_command
from tests.support.host import ScriptedHost, answers, completion
from tests.support.rows import row

SALT = bytes(32)
DOCS = Path(__file__).parents[2] / "docs" / "routing.md"
texts = st.lists(st.text("ab", min_size=1, max_size=9_000), min_size=1, max_size=4)


def asked(*messages: str) -> Request:
    prompt = read_prompt({"messages": [{"role": "user", "content": text} for text in messages]})
    return Request(
        "gen-1", {}, "m", "p", prompt_tokens=-(-prompt.size // 4), prefix=prefix_chain(prompt, "t", False, 4.0)
    )


def names(request: Request, salt: bytes = SALT) -> list[int]:
    return block_names(request.prefix, request.prompt_tokens, salt)


def shared(one: list[int], other: list[int]) -> int:
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


class TestNames:
    def test_the_documented_row_is_one_that_a_recording_may_hold(self) -> None:
        (sample,) = re.findall(r"^\{\"t\".*", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
        told = orjson.loads(sample)
        assert len(told["prefix_hashes"]) == -(-told["input_tokens"] // BLOCK)
        assert 2**53 < max(told["prefix_hashes"]) < 2 ** (8 * NAME_BYTES)

    def test_there_is_one_for_each_block(self) -> None:
        request = asked("system " * 500, "question " * 500)
        assert len(names(request)) == -(-request.prompt_tokens // 512)
        assert len(set(names(request))) == len(names(request))

    def test_a_next_turn_shares_the_blocks_that_its_messages_share(self) -> None:
        first, second = asked("s" * 8_192, "q" * 4_096), asked("s" * 8_192, "q" * 4_096, "a" * 400, "more" * 900)
        whole = first.prefix[-1][1] // 512
        assert shared(names(first), names(second)) == whole

    def test_another_question_shares_no_more_than_what_came_before_it(self) -> None:
        first, second = asked("s" * 8_192, "q" * 9_000), asked("s" * 8_192, "other" * 2_000)
        assert shared(names(first), names(second)) == first.prefix[3][1] // 512  # four pieces of 2 KB

    def test_another_salt_makes_other_names(self) -> None:
        request = asked("hello " * 2_000)
        assert not set(names(request)) & set(names(request, b"x" * 32))

    def test_without_prefixes_there_are_none(self) -> None:
        assert block_names((), 5_000, SALT) == []

    def test_what_is_beyond_the_known_prefix_has_no_name(self) -> None:
        assert len(block_names(((7, 1_100),), 9_000, SALT)) == 2

    @given(texts, texts)
    def test_blocks_are_shared_exactly_within_shared_messages(self, one: list[str], other: list[str]) -> None:
        first, second = asked(*one), asked(*other)
        same = list(takewhile(lambda pair: pair[0] == pair[1], zip(first.prefix, second.prefix, strict=False)))
        reach = same[-1][0][1] if same else 0
        most = min(first.prompt_tokens, second.prompt_tokens)
        shorter_is_whole = reach == most and first.prompt_tokens == second.prompt_tokens
        assert shared(names(first), names(second)) == (-(-reach // 512) if shorter_is_whole else reach // 512)


class TestFile:
    @pytest.mark.parametrize("name", ["trace.jsonl", "trace.jsonl.gz"])
    async def test_batches_of_several_workers_make_one_trace(self, tmp_path: Path, name: str) -> None:
        recording = begin(tmp_path / name)
        workers = [TraceRecorder(recording) for _ in range(2)]
        for turn in range(3):
            for worker in workers:
                at = recording.began + turn
                answer = row(at=at, duration=2.0, client_duration=2.5, completion_tokens=40, last=True)
                worker.answered(asked("hello " * 900), answer)
                await worker.flush()
        rows = read_trace(recording.path)
        assert [one.t for one in rows] == [0.0, 0.0, 0.5, 0.5, 1.5, 1.5]
        assert {one.output_tokens for one in rows} == {40}
        assert len({one.prefix_hashes for one in rows}) == 1
        assert all(len(one.prefix_hashes) == -(-one.input_tokens // 512) for one in rows)

    async def test_a_request_from_before_the_recording_is_at_its_start(self, tmp_path: Path) -> None:
        recording = begin(tmp_path / "trace")
        recorder = TraceRecorder(recording)
        recorder.answered(asked("hello"), row(at=recording.began - 5.0, duration=2.0, client_duration=2.0))
        assert "1 waiting, 0 lost" in repr(recorder)
        await recorder.flush()
        assert "0 waiting, 0 lost" in repr(recorder)
        assert [one.t for one in read_trace(recording.path)] == [0.0]

    def test_it_is_the_owners_alone_and_never_goes_on_in_another_recording(self, tmp_path: Path) -> None:
        path = tmp_path / "trace.jsonl"
        recording = begin(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert recording.salt.hex() not in repr(recording)
        with pytest.raises(ConfigError, match="File exists; name a new file"):
            begin(path)

    def test_salts_are_drawn(self, tmp_path: Path) -> None:
        assert begin(tmp_path / "a").salt != begin(tmp_path / "b").salt

    async def test_a_disk_that_fails_costs_the_trace_and_nothing_else(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        recorder = TraceRecorder(Recording(tmp_path / "gone" / "trace", 0.0, SALT))
        with caplog.at_level(logging.ERROR):
            for _ in range(2):
                recorder.answered(asked("hello"), row())
                await recorder.flush()
        assert recorder.lost == 2
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("fault", ["removed", "a fifo in its place"])
    async def test_a_file_that_is_gone_is_made_again(self, tmp_path: Path, fault: str) -> None:
        path, conditions = tmp_path / "trace", Conditions()
        recorder = TraceRecorder(begin(path), conditions)
        path.unlink()
        if fault != "removed":
            os.mkfifo(path)
            recorder.answered(asked("hello"), row())
            await recorder.flush()
            assert conditions.failing.keys() == {"recording"}
            path.unlink()
        recorder.answered(asked("hello"), row())
        await recorder.flush()
        assert not conditions.failing
        assert len(path.read_text().splitlines()) == 1

    async def test_a_full_disk_loses_whole_batches_only(self, tmp_path: Path) -> None:
        """A file size limit stands in for the full disk: the kernel writes half a row, then refuses."""
        path = tmp_path / "trace"
        recorder = TraceRecorder(begin(path))
        recorder.answered(asked("hello"), row())
        await recorder.flush()
        whole = path.read_bytes()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, before[1]))
        try:
            recorder.answered(asked("hello"), row())
            await recorder.flush()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert recorder.lost == 1
        assert path.read_bytes() == whole
        recorder.answered(asked("hello"), row())
        await recorder.flush()
        assert len(path.read_bytes().splitlines()) == 2

    def test_what_waits_is_bounded(self, tmp_path: Path) -> None:
        """By hashes, because long prompts have hundreds."""
        recorder = TraceRecorder(Recording(tmp_path / "trace", 0.0, SALT))
        request, answer = asked("long" * 100_000), row()
        held = ceil(MOST_QUEUED / (1 + len(request.prefix)))
        for _ in range(held + 3):
            recorder.answered(request, answer)
        assert recorder.lost == 3

    async def test_what_was_written_makes_room(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.telemetry.trace_recorder.MOST_QUEUED", 1)
        conditions = Conditions()
        recorder = TraceRecorder(begin(tmp_path / "trace"), conditions)
        recorder.answered(asked("hello"), row())
        recorder.answered(asked("hello"), row())
        assert conditions.failing.keys() == {"recording"}
        await recorder.flush()
        assert not conditions.failing
        recorder.answered(asked("hello"), row())
        assert recorder.lost == 1


async def test_a_gateway_records_what_hosts_answered_and_not_what_was_said(tmp_path: Path) -> None:
    secret, path = "a very private matter ", tmp_path / "trace.jsonl"
    async with (
        ScriptedHost(answers(body=completion("said in return"))) as host,
        gateway_command(tmp_path, {"a/fp8": host.url}, "--record", str(path)) as running,
    ):
        for _ in range(2):
            assert (await running.chat(secret * 400)).status_code == 200
    text = path.read_bytes()
    lines = [orjson.loads(line) for line in text.splitlines()]
    assert [line.keys() for line in lines] == [{"t", "model", "input_tokens", "output_tokens", "prefix_hashes"}] * 2
    assert lines[0]["prefix_hashes"] == lines[1]["prefix_hashes"]
    assert len(lines[0]["prefix_hashes"]) == -(-lines[0]["input_tokens"] // 512) > 1
    assert not any(word.encode() in text for word in ("very", "private", "matter", "said", "user", "role"))
    unsalted = {digest for digest, _ in asked(secret * 400).prefix}
    assert not unsalted & set(lines[0]["prefix_hashes"])
    assert not any(str(digest).encode() in text for digest in unsalted)
