"""The YAML reader: what it accepts, and that every problem says where it is and what would be right."""

import re
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.document import decode, in_unit, merge, parse, quantity, read, scalars
from gateway.document.nesting import DEEPEST
from gateway.errors import ConfigError
from gateway.types.units import BYTES, DURATION, SHARE, USD, USD_PER_HOUR, Bytes, Seconds, Share, Unit, Usd


@dataclass(frozen=True, slots=True)
class Clock:
    gap: Seconds = 30.0
    share: Share = 0.5


@dataclass(frozen=True, slots=True)
class Account:
    tenant: str
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    name: str
    count: int = 0
    rate: float = 0.0
    on: bool = False
    how: Literal["best", "no", "sample"] = "best"
    note: str | None = None
    size: Bytes = 0
    money: Usd = 0.0
    clock: Clock = field(default_factory=Clock)
    tags: tuple[str, ...] = ()
    clocks: tuple[Clock, ...] = ()
    by_name: dict[str, float] = field(default_factory=dict)
    account: Account | None = None


def sample(text: str) -> Sample:
    return decode(parse(text, "s.yaml"), Sample)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        sample(text)
    return caught.value.problems


def test_every_shape_is_read_along_its_type_hint() -> None:
    got = sample(
        """
        name: a
        count: 3
        rate: 1e-3
        on: true
        how: no
        note: 2026-11-01
        size: 2KiB
        money: $0.002
        clock: {gap: 250ms}
        tags: [x, "1"]
        clocks: [{gap: 1m}, {share: 7%}]
        by_name: {a: 1, b: 0.5}
        account: {tenant: t}
        """
    )

    assert got == Sample(
        name="a",
        count=3,
        rate=0.001,
        on=True,
        how="no",
        note="2026-11-01",
        size=2048,
        money=0.002,
        clock=Clock(gap=0.25),
        tags=("x", "1"),
        clocks=(Clock(gap=60.0), Clock(share=0.07)),
        by_name={"a": 1.0, "b": 0.5},
        account=Account("t"),
    )


def test_null_is_none_only_where_a_value_may_be_missing() -> None:
    assert sample("{name: a, note: null}").note is None
    assert problems("{name: a, count: null}") == (
        "s.yaml:1:18: count: `null` is empty; write a whole number, 0 or more, without quotes",
    )


def test_all_problems_are_collected_with_their_places() -> None:
    assert problems("nme: a\ncount: many\nclock:\n  gpa: 3s\n  gap: 30\n") == (
        "s.yaml:1:1: unknown key `nme`; did you mean `name`?",
        "s.yaml:1:1: `name` is missing; add `name: ...`",
        "s.yaml:2:8: count: `many` is text; write a whole number, 0 or more, without quotes",
        "s.yaml:4:3: unknown key `gpa`; did you mean `gap`?",
        "s.yaml:5:8: gap: `30` needs a unit, as in `30s`",
    )


@pytest.mark.parametrize(
    ("text", "unit", "written"),
    [
        ("0.60", USD, "$0.60"),
        ("3", USD_PER_HOUR, "$3/h"),
        ("0.3", SHARE, "30%"),
        ("99.5", SHARE, "99.5%"),
        (".125", SHARE, "12.5%"),
        ("4.", DURATION, "4s"),
        ("16", BYTES, BYTES.example),
        ("1e999999", SHARE, SHARE.example),
        ("four", DURATION, DURATION.example),
    ],
)
def test_a_bare_number_is_shown_with_its_unit(text: str, unit: Unit, written: str) -> None:
    assert in_unit(text, unit) == written
    assert quantity(written, unit) is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\nhow: bset", "s.yaml:2:6: how: unknown value `bset`; did you mean `best`?"),
        ("name: a\nhow: zzz", "s.yaml:2:6: how: unknown value `zzz`; write one of best, no, sample"),
        ("name: a\nname: b", "s.yaml:2:1: duplicate key `name`; the first one is on line 1"),
        ("name: a\non: yes", "s.yaml:2:5: on: `yes` is a boolean; write true or false"),
        ("name: no", "s.yaml:1:7: name: `no` is a boolean; write text, in quotes if YAML parses it as another type"),
        ("name: a\nrate: -1", "s.yaml:2:7: rate: `-1` is a number; write a number, 0 or more, without quotes"),
        ("name: a\nrate: .nan", "s.yaml:2:7: rate: `.nan` is a number; write a number, 0 or more, without quotes"),
        ("name: a\ncount: '3'", "s.yaml:2:8: count: `3` is text; write a whole number, 0 or more, without quotes"),
        (
            "name: a\ncount: 010",
            "s.yaml:2:8: count: `010` is a number; write a whole number, 0 or more, without quotes",
        ),
        ("name: a\nclock: 3s", "s.yaml:2:8: expected a table; write fields such as `gap: ...`"),
        ("name: a\ntags: x", "s.yaml:2:7: tags: expected a list; write `[...]` or lines that start with `-`"),
        ("name: [a]", "s.yaml:1:7: name: expected one value; write it without brackets or fields"),
        ("name: a\nby_name: 1", "s.yaml:2:10: by_name: expected a table; write `name: value` lines"),
        ("name: a\nmoney: 3%", "s.yaml:2:8: money: `3%` is not valid as usd; write it as in `$0.002`"),
        ("name: !secret a", "s.yaml:1:7: YAML tags are not supported; write the plain value"),
        ("[a]: b", "s.yaml:1:1: a key is a list or a table; write a name"),
        ("name: &a [*a]", "s.yaml:1:7: an alias refers to a value that contains it; write the value in full"),
        ("name: a\x01", "s.yaml:1:1: has a character that YAML forbids; save it as UTF-8 text"),
    ],
)
def test_a_problem_says_where_what_and_what_would_be_right(text: str, problem: str) -> None:
    assert problem in problems(text)


def test_a_syntax_error_has_its_mark() -> None:
    (problem,) = problems("name: a\ntags: [x\ncount: 3\n")
    assert problem == "s.yaml:3:6: did not find expected ',' or ']'; correct the YAML here"


def test_an_unquoted_limit_is_reported_as_such() -> None:
    (problem,) = problems("name: a\nnote: >= 80%\n")
    assert problem.startswith("s.yaml:2:")
    assert problem.endswith('quote a value that starts with ">", as in ">= 80%"')


@pytest.mark.parametrize(
    "account",
    [
        "{tenant: t, key: [hunter2]}",
        "{tenant: t, key: {hunter2: x}}",
        "{tenant: t, key: *hunter2}",
        "{tenant: t, key: !hunter2 x}",
        "{tenant: t, hunter2}",
        "{tenant: t, key: 'hunter2",
        "hunter2",
        "[hunter2]",
    ],
)
def test_a_secret_is_never_echoed(account: str) -> None:
    assert not any("hunter2" in problem for problem in problems(f"name: a\naccount: {account}\n"))


def test_a_secret_of_the_wrong_type_is_not_echoed() -> None:
    assert problems("{name: a, account: {tenant: t, key: 12345}}") == (
        "s.yaml:1:37: key: the value is a number; write text, in quotes if YAML parses it as another type",
    )


def test_nodes_do_not_show_values() -> None:
    assert "hunter2" not in repr(parse("key: hunter2", "s.yaml"))


def test_an_empty_document_is_an_empty_table() -> None:
    assert problems("# nothing\n") == ("s.yaml:1:1: `name` is missing; add `name: ...`",)


def test_aliases_are_read_as_what_they_point_at() -> None:
    got = sample("name: a\nclock: &c {gap: 1s}\nclocks: [*c, *c]\n")
    assert got.clocks == (Clock(1.0), Clock(1.0))


def test_aliases_of_aliases_do_not_multiply() -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    document = parse("\n".join(["l0: &l0 [x]", *levels]), "bomb.yaml")
    assert [one.text for one in scalars(document)] == ["x"]


def test_values_come_in_the_order_of_the_document_however_long_a_chain_of_aliases_is() -> None:
    links = [f"l{n}: &l{n} [*l{n - 1}, {n}]" for n in range(1, 1_500)]
    document = parse("\n".join(["l0: &l0 {a: x, b: y}", *links]), "chain.yaml")
    assert [one.text for one in scalars(document)] == ["x", "y", *map(str, range(1, 1_500))]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[" * 100_000, "1:201"),
        ("name: " + "[" * 100_000 + "]" * 100_000, "1:206"),
        ("{a: " * 100_000, "1:801"),
        ("- " * 100_000 + "a", "1:401"),
        ("? " * 100_000 + "a", "1:401"),
        ("".join(" " * n + "a:\n" for n in range(1_000)), "201:201"),
        ("a: &a [*a]\nb: [" + "[{b: " * 60_000, "2:500"),
    ],
)
def test_what_is_nested_without_end_is_refused_where_it_is_too_deep(text: str, place: str) -> None:
    (problem,) = problems(text)
    assert problem == f"s.yaml:{place}: is nested deeper than {DEEPEST} levels; use fewer"


@given(st.lists(st.sampled_from(["[]", "{}"]), min_size=1, max_size=2 * DEEPEST))
def test_depth_is_bounded_and_nothing_else_is(brackets: list[str]) -> None:
    opening = "".join(pair[0] + ("a: " if pair == "{}" else "") for pair in brackets)
    text = opening + "x" + "".join(pair[1] for pair in reversed(brackets))
    if len(brackets) <= DEEPEST:
        assert [one.text for one in scalars(parse(f"{text}", "s.yaml"))] == ["x"]
        wide = parse("[" + ", ".join([text] * 3) + "]", "s.yaml") if len(brackets) < DEEPEST else None
        assert wide is None or len(list(scalars(wide))) == 3
    else:
        assert "is nested deeper than" in problems(text)[0]


def test_merge_goes_deep_and_matches_lists_by_id() -> None:
    base = parse("price: {in: 1, out: 2}\ntags: [a, b]\nitems: [{id: x, v: 1, w: 1}, {id: y, v: 2}]", "base")
    over = parse("price: {in: 3}\ntags: [c]\nitems: [{id: z, v: 9}, {id: x, v: 5}]", "over")
    assert plain(merge(base, over)) == {
        "price": {"in": "3", "out": "2"},
        "tags": ["c"],
        "items": [{"id": "x", "v": "5", "w": "1"}, {"id": "y", "v": "2"}, {"id": "z", "v": "9"}],
    }


def test_merged_values_keep_the_place_they_came_from() -> None:
    merged = merge(parse("name: a\ncount: x", "base"), parse("rate: y", "over"))
    with pytest.raises(ConfigError) as caught:
        decode(merged, Sample)
    assert [problem.split(" ")[0] for problem in caught.value.problems] == ["base:2:8:", "over:1:7:"]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: \xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(tmp_path / "latin.yaml")


SUFFIXES = {
    "duration": [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)],
    "share": [("%", 0.01)],
    "usd": [("", 1)],
    "usd_per_hour": [("/h", 1)],
    "bytes": [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
}


@pytest.mark.parametrize("unit", [DURATION, SHARE, USD, USD_PER_HOUR, BYTES], ids=lambda unit: unit.name)
@given(data=st.data(), whole=st.integers(0, 10**6), thousandths=st.integers(0, 999))
def test_quantities_round_trip(unit: Unit, data: st.DataObject, whole: int, thousandths: int) -> None:
    suffix, scale = data.draw(st.sampled_from(SUFFIXES[unit.name]))
    number = str(whole) if unit is BYTES else f"{whole}.{thousandths:03d}"
    text = f"{'$' if unit.name.startswith('usd') else ''}{number}{suffix}"

    assert quantity(text, unit) == pytest.approx(float(number) * scale, rel=1e-12)


@pytest.mark.parametrize("unit", [DURATION, SHARE, USD, USD_PER_HOUR, BYTES], ids=lambda unit: unit.name)
def test_a_units_own_example_is_valid(unit: Unit) -> None:
    assert quantity(unit.example, unit) is not None


@given(text=st.text(max_size=12))
def test_only_what_the_pattern_allows_is_a_quantity(text: str) -> None:
    assert (quantity(text, DURATION) is not None) == bool(re.fullmatch(DURATION.pattern, text))


@given(share=st.integers(0, 100))
def test_whole_percents_are_exact(share: int) -> None:
    assert quantity(f"{share}%", SHARE) == share / 100


def plain(node) -> object:
    if hasattr(node, "entries"):
        return {name: plain(entry.node) for name, entry in node.entries.items()}
    return [plain(item) for item in node.nodes] if hasattr(node, "nodes") else node.text
