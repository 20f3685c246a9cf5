"""A folder of policies is taken whole or not at all, and watched."""

import asyncio
import logging
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.policy.load import MOST_DOUBTS, Policies, PolicySet, load_folder, shipped_folder
from gateway.types import Policy

SHIPPED = {path.stem for path in shipped_folder().glob("*.yaml")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "mine", "name: mine\nabout: first\n")
    return tmp_path


def write(folder: Path, stem: str, text: str) -> None:
    (folder / f"{stem}.yaml").write_text(text, encoding="utf-8")


def test_a_folder_becomes_policies_by_name(folder: Path) -> None:
    write(folder, "other", "name: other")
    (folder / ".mine.yaml.swp").write_text("garbage: [")
    (folder / ".hidden.yaml").write_text("garbage: [")
    (folder / "notes.txt").write_text("garbage: [")

    assert load_folder(folder) == {"mine": Policy("mine", about="first"), "other": Policy("other")}


def test_a_set_cannot_be_changed(folder: Path) -> None:
    with pytest.raises(TypeError):
        load_folder(folder)["mine"] = Policy("mine")  # type: ignore[index]


def test_the_problems_of_all_files_are_reported(folder: Path) -> None:
    write(folder, "a", "name: b")
    write(folder, "c", "nam: c")
    (folder / "d.yaml").write_bytes(b"\xff")
    (folder / "e.yaml").mkdir()
    (folder / "f.yml").write_text("name: f")

    with pytest.raises(ConfigError) as caught:
        load_folder(folder)

    found = "\n".join(caught.value.problems)
    for stem in ("a.yaml:1:7", "c.yaml:1:1", "d.yaml:1:1", "e.yaml:1:1", "f.yml: is not read; name it f.yaml"):
        assert stem in found


def test_a_folder_that_is_none_is_a_problem(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder"):
        load_folder(folder / "none")


def test_own_policies_lie_over_the_shipped_ones(folder: Path) -> None:
    write(folder, "floor", "name: floor\nabout: ours\n")

    policies = Policies(folder)

    assert set(policies.current) == SHIPPED | {"mine"}
    assert policies.current["floor"].about == "ours"
    assert "mine" in repr(policies)


def test_without_a_folder_the_shipped_ones_are_there() -> None:
    assert set(Policies().current) == SHIPPED


def test_a_broken_folder_stops_the_start(folder: Path) -> None:
    write(folder, "mine", "name: [")
    with pytest.raises(ConfigError):
        Policies(folder)


def test_a_broken_file_changes_nothing(folder: Path) -> None:
    policies = Policies(folder)
    before = policies.current
    write(folder, "mine", "name: mine\ntimeouts: {gap: 3}\n")
    write(folder, "new", "name: new")

    assert policies.reload() is False

    assert policies.current is before
    assert len(policies.problems) == 1
    assert "mine.yaml:2:17: gap: `3` needs a unit" in policies.problems[0]


def test_a_corrected_file_takes_effect(folder: Path) -> None:
    policies = Policies(folder)
    write(folder, "mine", "name: [")
    policies.reload()
    write(folder, "mine", "name: mine\nabout: second\n")

    assert policies.reload() is True

    assert policies.current["mine"].about == "second"
    assert policies.problems == ()


def test_doubts_are_told_about_what_a_reload_changed_and_only_so_many(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[list[str]] = []

    def doubts(changed: PolicySet) -> list[str]:
        asked.append(list(changed))
        return [f"{name}: doubtful" for name in changed]

    policies = Policies(folder, doubts=doubts)
    assert asked == [], "a start costs nothing"
    policies.reload()
    assert caplog.records == [], "nothing has changed"
    write(folder, "mine", "name: mine\nabout: second\n")
    policies.reload()
    assert asked[1:] == [["mine"]]
    (warned,) = caplog.records
    assert warned.getMessage() == "policies to look at:\nmine: doubtful"

    for number in range(MOST_DOUBTS + 2):
        write(folder, f"p{number}", f"name: p{number}\n")
    policies.reload()
    lines = caplog.records[-1].getMessage().splitlines()
    assert (len(lines), lines[-1]) == (MOST_DOUBTS + 2, "and 2 more; see `gateway check`")


def test_a_removed_file_takes_its_policy_along(folder: Path) -> None:
    policies = Policies(folder)
    (folder / "mine.yaml").unlink()
    assert policies.reload() is True
    assert "mine" not in policies.current


def test_a_removed_folder_changes_nothing(folder: Path) -> None:
    policies = Policies(folder)
    (folder / "mine.yaml").unlink()
    folder.rmdir()
    assert policies.reload() is False
    assert "mine" in policies.current


def test_a_reload_tells_what_it_changed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(folder, "old", "name: old")
    policies = Policies(folder)
    with caplog.at_level(logging.INFO):
        write(folder, "mine", "name: mine\nabout: second\n")
        write(folder, "other", "name: other")
        (folder / "old.yaml").unlink()
        policies.reload()
        policies.reload()
    assert [record.message for record in caplog.records] == [
        "policies in force: mine changed, other added, old removed",
        "policies in force: as before",
    ]


def test_the_same_mistake_is_logged_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    policies = Policies(folder)
    write(folder, "mine", "name: [")
    with caplog.at_level(logging.ERROR):
        policies.reload()
        policies.reload()
        write(folder, "mine", "nam: x")
        policies.reload()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_saving_a_file_switches_and_breaking_it_does_not(folder: Path) -> None:
    policies = Policies(folder)
    results: asyncio.Queue[bool] = asyncio.Queue()
    watching = asyncio.create_task(policies.watch(results.put_nowait))

    # Written before the watcher is sure to listen: what changed since the load is found all the same.
    write(folder, "mine", "name: mine\nabout: second\n")
    assert await asyncio.wait_for(results.get(), 60) is True
    assert policies.current["mine"].about == "second"

    write(folder, "mine", "name: mine\nabout: [third\n")
    assert await asyncio.wait_for(results.get(), 60) is False
    assert policies.current["mine"].about == "second"

    (folder / "notes.txt").write_text("of no account")
    write(folder, "mine", "name: mine\nabout: a fourth one\n")
    assert await asyncio.wait_for(results.get(), 60) is True
    assert policies.current["mine"].about == "a fourth one"
    assert results.empty()

    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


class WrittenInSteps(Policies):
    """Somebody writes a file of the folder in several steps, one before each look."""

    def __init__(self, folder: Path) -> None:
        self.steps: list[str] = []
        super().__init__(folder)
        self.folder = folder

    def _look(self) -> frozenset[tuple[str, int, int]]:
        if self.steps:
            write(self.folder, "mine", self.steps.pop(0))
        return super()._look()


async def test_a_file_is_read_when_it_is_written_to_its_end(folder: Path) -> None:
    policies = WrittenInSteps(folder)
    policies.steps = ["name: mine\nabout: [", "name: mine\nabout: [half of", "name: mine\nabout: the whole\n"]
    results: asyncio.Queue[bool] = asyncio.Queue()
    watching = asyncio.create_task(policies.watch(results.put_nowait))

    assert await asyncio.wait_for(results.get(), 60) is True
    assert policies.current["mine"].about == "the whole"
    assert results.empty()

    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


def test_a_default_that_is_removed_stays_in_force(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    policies = Policies(tmp_path, ["mine"])
    (tmp_path / "mine.yaml").unlink()
    assert not policies.reload()
    assert "mine" in policies.current
    assert "put mine.yaml back" in policies.problems[0]


def test_a_default_that_never_was_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="policy `mine` is a default"):
        Policies(tmp_path, ["mine"])
