"""What goes out to each host, and what is made of what comes back, is what the golden files say.

A difference that is meant: `python -m tests.upstream.golden`, and read the diff.
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.types import Endpoint, Surface
from tests.upstream.golden import answers, requests
from tests.upstream.golden.page import PAGE, with_tables
from tests.upstream.listener import cut

HOSTS = requests.hosts()
CASES = answers.cases()
SURFACES = tuple(answers.ENDINGS)


@pytest.mark.parametrize("endpoint", HOSTS, ids=lambda one: one.id)
def test_each_host_is_sent_what_its_file_says(endpoint: Endpoint) -> None:
    assert requests.sent(endpoint) == requests.file(endpoint).read_text(encoding="utf-8")


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_answer_comes_to_what_its_file_says(case: Path, surface: Surface) -> None:
    assert answers.told(case, surface) == answers.file(case, surface).read_text(encoding="utf-8")


@given(st.sampled_from(CASES), st.sampled_from(SURFACES), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_of_an_answer_comes_to_the_same(case: Path, surface: Surface, places: list[int]) -> None:
    assert answers.told(case, surface, cut(case.read_bytes(), places)) == answers.told(case, surface)


def test_there_is_no_file_too_many() -> None:
    assert set(requests.FOLDER.iterdir()) == {requests.file(endpoint) for endpoint in HOSTS}
    made = {answers.file(case, surface) for case in CASES for surface in SURFACES}
    assert set(answers.FOLDER.iterdir()) == made | set(CASES)


def test_the_page_lists_for_every_host_whether_it_is_relayed_and_why() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page
