"""The file of changes: readable, edited by hand, replaced as a whole, and before the catalogue."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.prices.price_book import (
    EMPTY,
    Moment,
    PriceBook,
    PriceChange,
    PriceHistory,
    RaisedFlag,
    book_text,
    read_book,
    with_prices,
    write_book,
)
from gateway.types import Endpoint, Model, Price
from gateway.types.price import PriceTier
from gateway.types.utc import utc_text

AT = Moment(1_795_000_000.0)
CHANGE = PriceChange(AT, "litellm 1.110.2", 0.27, 0.41, 0.135)
BOOK = PriceBook(AT, {"novita/fp8": PriceHistory((CHANGE,), (RaisedFlag(AT, "jump", "x: input 1 -> 3"),))})

TEXT = st.text(max_size=30)
USD = st.floats(1e-6, 1e6).map(lambda value: float(f"{value:.10g}"))
MOMENTS = st.integers(0, 2_000_000_000).map(lambda second: Moment(float(second)))
CHANGES = st.builds(PriceChange, MOMENTS, TEXT, USD, USD, st.none() | USD, st.booleans())
FLAGS = st.builds(RaisedFlag, MOMENTS, st.sampled_from(["zero", "jump", "unlisted"]), TEXT)
HISTORIES = st.builds(PriceHistory, st.lists(CHANGES, min_size=1, max_size=3).map(tuple), st.lists(FLAGS).map(tuple))
IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
BOOKS = st.builds(PriceBook, MOMENTS, st.dictionaries(IDS, HISTORIES, max_size=4))


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def printable(book: PriceBook) -> PriceBook:
    """With the texts as they are written: what cannot be printed is replaced."""

    def plain(text: str) -> str:
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    histories = {
        name: PriceHistory(
            tuple(
                PriceChange(one.at, plain(one.source), one.input, one.output, one.cached_input, one.accepted)
                for one in history.changes
            ),
            tuple(RaisedFlag(one.at, one.kind, plain(one.text)) for one in history.flags),
        )
        for name, history in book.endpoints.items()
    }
    return PriceBook(book.synced, histories)


@given(BOOKS)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, book: PriceBook) -> None:
    path = tmp_path_factory.mktemp("book") / "prices.yaml"
    write_book(path, book)
    assert read_book(path) == printable(book)


def test_it_is_one_line_for_each_change_and_flag() -> None:
    lines = book_text(BOOK).splitlines()[3:]
    assert lines == [
        f"synced: {utc_text(AT)}",
        "endpoints:",
        "  novita/fp8:",
        "    changes:",
        f'      - {{at: {utc_text(AT)}, source: "litellm 1.110.2", input: 0.27, cached_input: 0.135, output: 0.41}}',
        "    flags:",
        f'      - {{at: {utc_text(AT)}, kind: jump, text: "x: input 1 -> 3"}}',
    ]


def test_no_file_is_an_empty_book(tmp_path: Path) -> None:
    assert read_book(tmp_path / "prices.yaml") == EMPTY


def test_every_mistake_of_an_edit_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "synced: yesterday\n"
        "endpoints:\n"
        "  a:\n"
        "    changes:\n"
        "      - {at: 2026-11-18, source: me, input: 0, output: 1}\n"
        "      - {at: 2026-11-18, source: me, input: 0.3, output: cheap}\n"
        "      - {at: 2026-11-18, source: me, inputs: 0.3, output: 1}\n"
        "    flags: [{at: 2026-11-18, kind: strange, text: x}]\n",
    )
    with pytest.raises(ConfigError) as error:
        read_book(path)
    assert [problem.removeprefix(f"{path}:").split(":")[0] for problem in error.value.problems] == list("156778")
    assert "would attract all traffic" in error.value.problems[1]


def test_a_zero_that_a_person_took_stays(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "endpoints: {a: {changes: [{at: 2026-11-18, source: me, input: 0, output: 0, accepted: true}]}}\n",
    )
    assert read_book(path).endpoints["a"].changes[0].accepted


@pytest.mark.parametrize("text", ["endpoints: [", "endpoints: 3", "- a", "\0", "endpoints: {a: {changes: [3]}}"])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=str(path)):
        read_book(path)


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "prices.yaml"
    write_book(path, BOOK)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_book(path, EMPTY)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "prices.yaml"
    write_book(real, EMPTY)
    real.chmod(0o640)
    link.symlink_to(real)
    write_book(link, BOOK)
    assert link.is_symlink()
    assert (read_book(real), real.stat().st_mode & 0o777) == (BOOK, 0o640)


def model(*endpoints: Endpoint) -> tuple[Model, ...]:
    return (Model("m", "M", 1000, endpoints),)


def test_the_order_is_gateway_yaml_then_the_book_then_the_catalogue() -> None:
    listed = Price(0.25, 0.5, 0.1, cache_write=0.3, as_of="2026-11")
    both = Endpoint("novita/fp8", "novita", None, None, price=listed), Endpoint("b", "b", None, None, price=listed)
    (found,) = with_prices(model(*both), BOOK, own=())
    assert found.endpoints[0].price == Price(0.27, 0.41, 0.135, cache_write=0.3, as_of="2026-11-18")
    assert found.endpoints[1].price == listed
    assert with_prices(model(*both), BOOK, own={"novita/fp8"}) == model(*both)


def test_a_retired_endpoint_keeps_what_it_cost() -> None:
    retired = Endpoint("novita/fp8", "novita", None, None, status="retired", price=Price(1.0, 2.0))
    assert with_prices(model(retired), BOOK, own=()) == model(retired)


def test_tiers_in_the_catalogue_stay() -> None:
    tiered = Price(0.25, 0.5, tiers=(PriceTier(1000, 1.0, 2.0),))
    assert BOOK.price(Endpoint("novita/fp8", "novita", None, None, price=tiered)) is not None
