"""The file of a running gateway: what counts as a change, what is rejected, and what the log says about it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import main
from gateway.config_source import ConfigSource
from gateway.config_watch import RETRY_AFTER, ConfigWatch
from gateway.configuration import Configuration, RejectedConfig
from tests.support.gateway import write_config

HOSTS = {"a/fp8": "http://127.0.0.1:1"}
Poll = Callable[[], Configuration | RejectedConfig | None]


@pytest.fixture
def watch(tmp_path: Path) -> ConfigWatch:
    source = ConfigSource(write_config(tmp_path, HOSTS))
    return ConfigWatch(source, source.first(), tmp_path / "state")


def settled(watch: ConfigWatch) -> Configuration | RejectedConfig | None:
    """What two polls bring: the first one sees a change, the second one that it is complete."""
    return watch.poll() or watch.poll()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.name == "gateway"]


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gateway")


def test_without_a_change_there_are_no_news(watch: ConfigWatch) -> None:
    assert [watch.poll() for _ in range(3)] == [None] * 3


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def renamed(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.rename(path)


def moved_away_first(path: Path, text: str) -> None:
    path.rename(path.with_suffix(".yaml~"))
    path.write_text(text)


@pytest.mark.parametrize("save", [in_place, renamed, moved_away_first])
def test_however_an_editor_saves_it(
    watch: ConfigWatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, save: Callable[[Path, str], None]
) -> None:
    path = tmp_path / "gateway.yaml"
    save(path, path.read_text() + "default_policy: nitro\n")
    news = settled(watch)
    assert isinstance(news, Configuration)
    assert news.settings.default_policy == "nitro"
    assert news.settings.state == tmp_path / "state"
    assert said(caplog) == ["configuration in force: default_policy changed"]
    assert settled(watch) is None


def test_a_swapped_link_is_a_change(tmp_path: Path) -> None:
    """Kubernetes mounts a ConfigMap as a link to a folder, and swaps the link."""
    for name, policy in (("one", "nitro"), ("two", "floor")):
        (tmp_path / name).mkdir()
        write_config(tmp_path / name, HOSTS, default_policy=policy)
    (tmp_path / "data").symlink_to("one")
    source = ConfigSource(tmp_path / "data" / "gateway.yaml")
    watch = ConfigWatch(source, source.first(), tmp_path / "state")
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "data")
    news = settled(watch)
    assert isinstance(news, Configuration)
    assert news.settings.default_policy == "floor"


def test_a_file_that_is_still_being_written_is_not_read(watch: ConfigWatch, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    whole = path.read_text()
    for size in (10, 100, len(whole)):
        path.write_text(whole[:size])
        assert watch.poll() is None
    assert isinstance(watch.poll(), Configuration)


def test_a_rejected_file_is_said_once_and_the_next_one_counts(
    watch: ConfigWatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gateway.yaml"
    good = path.read_text()
    for _ in range(2):
        path.write_text(good + "nonsense: 1\n")
        news = settled(watch)
    assert news is None, "the same problems again are no news"
    assert len(said(caplog)) == 1
    (problem,) = watch.problems
    assert problem.startswith(f"{path}:{1 + good.count(chr(10))}:1: ")
    path.write_text(good)
    assert isinstance(settled(watch), Configuration)
    assert watch.problems == ()
    assert said(caplog)[-1] == "configuration in force: unchanged"


def test_a_file_that_is_gone_changes_nothing_until_it_is_back(watch: ConfigWatch, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    good = path.read_text()
    path.unlink()
    assert isinstance(settled(watch), RejectedConfig)
    assert [watch.poll() for _ in range(2 * RETRY_AFTER)] == [None] * 2 * RETRY_AFTER
    path.write_text(good)
    assert isinstance(settled(watch), Configuration)


def test_sighup_reads_a_file_that_has_not_changed(watch: ConfigWatch, caplog: pytest.LogCaptureFixture) -> None:
    watch.request_reload()
    assert isinstance(watch.poll(), Configuration)
    assert said(caplog) == ["configuration in force: unchanged"]


def test_what_needs_a_restart_is_named_and_stays(
    watch: ConfigWatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_config(tmp_path, HOSTS, port=9999, workers=3, redis={"url": "redis://user:secret@cache:6379/0"})
    news = settled(watch)
    assert isinstance(news, Configuration)
    assert (news.settings.port, news.settings.workers, news.settings.redis_url) == (8080, 1, None)
    assert said(caplog)[0] == (
        "changed in the configuration, but in force only after a restart: port, workers, redis.url"
    )
    assert "secret" not in "".join(said(caplog))


def test_flags_of_the_command_line_still_override_the_file(tmp_path: Path) -> None:
    source = ConfigSource(write_config(tmp_path, HOSTS), given={"port": 1234, "policies": None})
    watch = ConfigWatch(source, source.first(), tmp_path)
    write_config(tmp_path, HOSTS, port=9999)
    news = settled(watch)
    assert isinstance(news, Configuration)
    assert news.settings.port == 1234


def test_without_keys_it_does_not_open_to_the_network(tmp_path: Path) -> None:
    keys = [{"tenant": "web", "key": "secret"}]
    source = ConfigSource(write_config(tmp_path, HOSTS, host="0.0.0.0", keys=keys))
    watch = ConfigWatch(source, source.first(), tmp_path)
    write_config(tmp_path, HOSTS, host="0.0.0.0")
    news = settled(watch)
    assert isinstance(news, RejectedConfig)
    assert "would let anyone spend your money" in news.problems[0]


MISTAKES: dict[str, Any] = {
    "a policy that does not exist": {"default_policy": "nitr"},
    "a rule with a policy that does not exist": {"rules": [{"when": {"key": "app"}, "policy": "nitr"}]},
    "a setting that does not exist": {"nonsense": 1},
    "a value of the wrong type": {"max_body": "lots"},
    "no endpoint in use": {"models": {}},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_verdict_is_that_of_check(watch: ConfigWatch, tmp_path: Path, mistake: str) -> None:
    write_config(tmp_path, HOSTS, **MISTAKES[mistake])
    news = settled(watch)
    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", str(tmp_path / "gateway.yaml")])
    assert isinstance(news, RejectedConfig)
    assert ended.value.code == 1


def test_a_rule_for_a_virtual_key_is_no_mistake(watch: ConfigWatch, tmp_path: Path) -> None:
    write_config(tmp_path, HOSTS, rules=[{"when": {"key": "app"}, "policy": "nitro"}])
    assert isinstance(settled(watch), Configuration)
    with pytest.raises(SystemExit) as ended:
        main(["check", "--config", str(tmp_path / "gateway.yaml")])
    assert ended.value.code == 0


def test_an_invalid_policy_file_rejects_the_whole_configuration(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    source = ConfigSource(write_config(tmp_path, HOSTS, policies=str(policies)))
    watch = ConfigWatch(source, source.first(), tmp_path)
    (policies / "mine.yaml").write_text("name: mine\nnonsense: 1\n")
    write_config(tmp_path, HOSTS, policies=str(policies), max_body="1MiB")
    news = settled(watch)
    assert isinstance(news, RejectedConfig)
    assert f"{policies / 'mine.yaml'}:2:1" in news.problems[0]


def test_the_text_about_a_model_belongs_to_it(watch: ConfigWatch, tmp_path: Path) -> None:
    about = tmp_path / "about.md"
    about.write_text("## Profile\nFast.\n")
    document = yaml.safe_load((tmp_path / "gateway.yaml").read_text())
    (model,) = document["models"].values()
    model["about"] = "about.md"
    (tmp_path / "gateway.yaml").write_text(yaml.safe_dump(document))
    assert isinstance(settled(watch), Configuration)
    about.write_text("## Profile\nFaster.\n")
    news = settled(watch)
    assert isinstance(news, Configuration)
    assert news.settings.models[0].about.profile == "Faster."


def test_a_fault_of_ours_in_a_reload_leaves_the_old_one_in_force(
    watch: ConfigWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would end the supervisor, and with it every worker."""

    def fails(_: ConfigSource) -> None:
        raise RecursionError

    with monkeypatch.context() as patch:
        patch.setattr(ConfigSource, "settings", fails)
        watch.request_reload()
        assert watch.poll() == RejectedConfig(("internal error: RecursionError",))
    watch.request_reload()
    assert isinstance(watch.poll(), Configuration)
