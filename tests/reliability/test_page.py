"""The page has a place for every trial, and a trial's rows replace only its own."""

import pytest

from tests.reliability import page
from tests.reliability.page import Line
from tests.reliability.trials import TRIALS

TEXT = "before\n<!-- chaos: begin -->\nold\n<!-- chaos: end -->\nafter\n"


@pytest.mark.parametrize("trial", TRIALS)
def test_the_page_has_a_place_for_each_trial(trial: str) -> None:
    placed = page.placed(page.PAGE.read_text(), trial, "only this\n")
    assert f"<!-- {trial}: begin -->\nonly this\n<!-- {trial}: end -->" in placed


def test_what_is_written_replaces_the_last_run() -> None:
    assert page.placed(TEXT, "chaos", "new\n") == TEXT.replace("old", "new")


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for the trial soak"):
        page.placed(TEXT, "soak", "new\n")


def test_a_target_that_was_missed_stands_out() -> None:
    table = page.table([Line("damaged: 0", "0", kept=True), Line("lost: 0", "2", kept=False)])
    assert table.splitlines()[2:] == ["| damaged: 0 | 0 | yes |", "| lost: 0 | 2 | **no** |"]
