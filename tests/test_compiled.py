"""What the optional compiled wheel compiles, without a compiler."""

from pathlib import Path

import pytest

hatch_build = pytest.importorskip("hatch_build")  # not next to an installed wheel


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(hatch_build.__file__).parent)


def test_the_modules_that_stay_interpreted_exist() -> None:
    assert [path for path in hatch_build.INTERPRETED if not Path(path).is_file()] == []


def test_no_module_that_workers_or_hosts_send_is_compiled() -> None:
    def is_decoded(path: str) -> bool:
        text = Path(path).read_text(encoding="utf-8")
        return "array_like=True" in text or "forbid_unknown_fields=True" in text

    assert [path for path in hatch_build.compiled() if is_decoded(path)] == []
