"""A folder of policies is taken whole or not at all, and watched."""

import asyncio
import errno
import logging
import os
import pickle
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.document import node
from gateway.errors import ConfigError
from gateway.policy.policies import MOST_WARNINGS, Policies, PolicySet, load_folder, shipped_folder
from gateway.state.conditions import Conditions
from gateway.types import Policy
from tests.support.valkey import until

SHIPPED = {path.stem for path in shipped_folder().glob("*.yaml")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "mine", "name: mine\nabout: first\n")
    return tmp_path


def write(folder: Path, stem: str, text: str) -> Path:
    path = folder / f"{stem}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def no_warnings(_: PolicySet) -> Sequence[str]:
    return ()


def test_a_folder_becomes_policies_by_name(folder: Path) -> None:
    write(folder, "other", "name: other")
    (folder / ".mine.yaml.swp").write_text("garbage: [")
    (folder / ".hidden.yaml").write_text("garbage: [")
    (folder / "notes.txt").write_text("garbage: [")

    assert load_folder(folder) == {"mine": Policy("mine", about="first"), "other": Policy("other")}


def test_a_set_cannot_be_changed(folder: Path) -> None:
    with pytest.raises(TypeError):
        load_folder(folder)["mine"] = Policy("mine")  # type: ignore[index]


def test_a_worker_gets_the_same_policies_which_cannot_be_changed_either(folder: Path) -> None:
    before = Policies(folder, warnings=no_warnings)
    after: Policies = pickle.loads(pickle.dumps(before))
    assert after.current == before.current
    with pytest.raises(TypeError):
        after.current["mine"] = Policy("mine")  # type: ignore[index]


def test_the_problems_of_all_files_are_reported(folder: Path) -> None:
    write(folder, "a", "name: b")
    write(folder, "c", "nam: c")
    (folder / "d.yaml").write_bytes(b"\xff")
    (folder / "e.yaml").mkdir()
    (folder / "f.yml").write_text("name: f")

    with pytest.raises(ConfigError) as caught:
        load_folder(folder)

    found = "\n".join(caught.value.problems)
    for stem in ("a.yaml:1:7", "c.yaml:1:1", "d.yaml:1:1", "e.yaml:1:1", "f.yml: is not loaded; name it f.yaml"):
        assert stem in found


def test_a_folder_that_is_none_is_a_problem(folder: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
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


def test_a_policy_that_is_nested_without_end_changes_nothing(folder: Path) -> None:
    policies = Policies(folder)
    before = policies.current
    write(folder, "mine", "name: mine\npick: " + "{a: [" * 50_000)
    assert policies.reload() is False
    assert policies.current is before
    assert "mine.yaml:2:506: is nested deeper than 200 levels; use fewer" in policies.problems[0]


def test_a_corrected_file_takes_effect(folder: Path) -> None:
    policies = Policies(folder)
    write(folder, "mine", "name: [")
    policies.reload()
    write(folder, "mine", "name: mine\nabout: second\n")

    assert policies.reload() is True

    assert policies.current["mine"].about == "second"
    assert policies.problems == ()


def test_doubts_are_reported_about_what_a_reload_changed_and_only_so_many(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[list[str]] = []

    def doubts(changed: PolicySet) -> list[str]:
        asked.append(list(changed))
        return [f"{name}: doubtful" for name in changed]

    policies = Policies(folder, warnings=doubts)
    assert asked == [], "a start costs nothing"
    policies.reload()
    assert caplog.records == [], "nothing has changed"
    write(folder, "mine", "name: mine\nabout: second\n")
    policies.reload()
    assert asked[1:] == [["mine"]]
    (warned,) = caplog.records
    assert warned.getMessage() == "policies to check:\nmine: doubtful"

    for number in range(MOST_WARNINGS + 2):
        write(folder, f"p{number}", f"name: p{number}\n")
    policies.reload()
    lines = caplog.records[-1].getMessage().splitlines()
    assert (len(lines), lines[-1]) == (MOST_WARNINGS + 2, "and 2 more; see `gateway check`")


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


def test_a_reload_logs_what_it_changed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
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
        "policies in force: unchanged",
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
    watching = asyncio.create_task(policies.watch(results.put_nowait, Conditions()))

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

    def _check(self) -> frozenset[tuple[str, int, int]]:
        if self.steps:
            write(self.folder, "mine", self.steps.pop(0))
        return super()._check()


async def test_a_file_is_read_when_it_is_written_to_its_end(folder: Path) -> None:
    policies = WrittenInSteps(folder)
    policies.steps = ["name: mine\nabout: [", "name: mine\nabout: [half of", "name: mine\nabout: the whole\n"]
    results: asyncio.Queue[bool] = asyncio.Queue()
    watching = asyncio.create_task(policies.watch(results.put_nowait, Conditions()))

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


@asynccontextmanager
async def watched(policies: Policies, conditions: Conditions | None = None) -> AsyncIterator[asyncio.Queue[bool]]:
    """What each reload returned, while the folder is watched."""
    results: asyncio.Queue[bool] = asyncio.Queue()
    watching = asyncio.create_task(policies.watch(results.put_nowait, conditions or Conditions()))
    yield results
    watching.cancel()
    await asyncio.wait({watching})


def about(policies: Policies) -> str:
    return policies.current["mine"].about


class TestLinks:
    """git-sync swaps a link to the folder or above it; Kubernetes swaps `..data`, to which the files point."""

    def release(self, path: Path, text: str) -> Path:
        path.mkdir(parents=True)
        write(path, "mine", f"name: mine\nabout: {text}\n")
        return path

    def swap(self, link: Path, target: Path) -> None:
        new = link.with_name("new")
        new.symlink_to(target)
        new.replace(link)

    @pytest.mark.parametrize("below", ["", "p"], ids=["the folder", "a folder above it"])
    async def test_a_link_that_is_swapped(self, tmp_path: Path, below: str) -> None:
        first, second = (self.release(tmp_path / name / below, name) for name in ("v1", "v2"))
        self.swap(tmp_path / "now", tmp_path / "v1")
        policies = Policies(tmp_path / "now" / below)
        async with watched(policies) as results:
            assert about(policies) == "v1"
            self.swap(tmp_path / "now", tmp_path / "v2")
            assert await asyncio.wait_for(results.get(), 60) is True
            assert about(policies) == "v2"
            shutil.rmtree(first)
            write(second, "mine", "name: mine\nabout: third\n")
            assert await asyncio.wait_for(results.get(), 60) is True
            assert about(policies) == "third"

    async def test_files_that_are_links_into_what_is_swapped(self, tmp_path: Path) -> None:
        for name in ("v1", "v2"):
            self.release(tmp_path / f"..{name}", name)
        self.swap(tmp_path / "..data", tmp_path / "..v1")
        (tmp_path / "mine.yaml").symlink_to("..data/mine.yaml")
        policies = Policies(tmp_path)
        async with watched(policies) as results:
            self.swap(tmp_path / "..data", tmp_path / "..v2")
            assert await asyncio.wait_for(results.get(), 60) is True
            assert about(policies) == "v2"

    async def test_a_target_that_vanishes_keeps_the_policies_and_comes_back(self, tmp_path: Path) -> None:
        first = self.release(tmp_path / "v1", "v1")
        self.swap(tmp_path / "now", first)
        policies = Policies(tmp_path / "now")
        async with watched(policies) as results:
            shutil.rmtree(first)
            assert await asyncio.wait_for(results.get(), 60) is False
            assert about(policies) == "v1"
            assert "is not a folder" in policies.problems[0]
            self.swap(tmp_path / "now", self.release(tmp_path / "v2", "v2"))
            assert await asyncio.wait_for(results.get(), 60) is True
            assert about(policies) == "v2"


@pytest.mark.parametrize("how", ["replaced", "written over"])
async def test_a_change_that_keeps_size_and_time_is_seen(folder: Path, how: str) -> None:
    """As Nix, rsync -t and reproducible images make them."""
    path = write(folder, "mine", "name: mine\nabout: one\n")
    os.utime(path, (0, 0))
    policies = Policies(folder)
    async with watched(policies) as results:
        other = path if how == "written over" else path.with_name("other")
        other.write_text("name: mine\nabout: two\n")
        os.utime(other, (0, 0))
        other.replace(path)
        assert await asyncio.wait_for(results.get(), 60) is True
        assert about(policies) == "two"


async def test_a_fifo_holds_up_nothing(folder: Path) -> None:
    policies = Policies(folder)
    async with watched(policies) as results:
        os.mkfifo(folder / "strange.yaml")
        assert await asyncio.wait_for(results.get(), 60) is False
        assert "is not a regular file" in policies.problems[0]
        (folder / "strange.yaml").unlink()
        assert await asyncio.wait_for(results.get(), 60) is True


async def test_what_could_not_be_read_is_read_again_though_nothing_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when descriptors were used up, or a network's folder was away for a moment."""
    monkeypatch.setattr("gateway.policy.policies.RETRY_AFTER", 1)
    policies = Policies(folder)
    content = node.content
    monkeypatch.setattr(node, "content", refuse)
    write(folder, "mine", "name: mine\nabout: later\n")
    async with watched(policies) as results:
        assert await asyncio.wait_for(results.get(), 60) is False
        assert "Too many open files" in policies.problems[0]
        monkeypatch.setattr(node, "content", content)
        while not await asyncio.wait_for(results.get(), 60):
            pass
        assert about(policies) == "later"
        assert policies.problems == ()


async def test_a_look_that_fails_removes_no_policy(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "mine", "name: mine\n")
    policies, conditions = Policies(folder), Conditions()
    scandir = os.scandir
    async with watched(policies, conditions) as results:
        monkeypatch.setattr(os, "scandir", refuse)
        await until(lambda: "policies" in conditions.failing)
        assert conditions.failing["policies"] == "Too many open files"
        monkeypatch.setattr(os, "scandir", scandir)
        await until(lambda: not conditions.failing)
        assert results.empty()
        assert "mine" in policies.current


def refuse(path: Path) -> bytes:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
