"""Of a gateway's log, what is about policies is told, whole lines and each once."""

from pathlib import Path

import pytest

from gateway.sim.policy_news import PolicyNews

BROKEN = (
    "2026-11-01 10:00:00,000 ERROR gateway.policy.policies: policies not reloaded, the old ones stay in force:\n"
    "policies/mine.yaml:3:3: unknown key `hwo`; did you mean `how`?\n"
)
OTHER = "2026-11-01 10:00:01,000 WARNING gateway: a/b is avoided\nTraceback\n"
GOOD = "2026-11-01 10:00:02,000 INFO gateway.policy.policies: policies in force: balanced changed\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.log"
    path.touch()
    return path


def write(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_records_about_policies_are_reported_with_the_lines_that_continue_them(log: Path) -> None:
    news = PolicyNews(log)
    write(log, BROKEN + OTHER + GOOD)
    assert news.read() == [
        "policies not reloaded, the old ones stay in force:",
        "   policies/mine.yaml:3:3: unknown key `hwo`; did you mean `how`?",
        "policies in force: balanced changed",
    ]
    assert news.read() == []


def test_a_line_is_reported_when_it_is_whole(log: Path) -> None:
    news = PolicyNews(log)
    write(log, GOOD[:70])
    assert news.read() == []
    write(log, GOOD[70:])
    assert news.read() == ["policies in force: balanced changed"]
