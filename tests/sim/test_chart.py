from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from gateway.sim.chart import HEIGHT, WIDTH, Axis, picture
from gateway.sim.oracle import Floor
from gateway.sim.whatif import Interval, Outcome, Report

SVG = "{http://www.w3.org/2000/svg}"


def outcome(name: str, price: float, ttft: float, half: float | None = 0.01) -> Outcome:
    kind = "policy" if name.startswith("p") else "baseline"
    return Outcome(name, kind, {"blended_price": Interval(price, half), "ttft_p95": Interval(ttft, half)}, {})  # type: ignore[arg-type]


def drawn(*outcomes: Outcome) -> ElementTree.Element:
    return ElementTree.fromstring(picture(Report("t", "f", 1, 1, (), 1, 1.0, 1.0, outcomes, Floor(0.1, 0.4))))


def texts(root: ElementTree.Element) -> dict[str, tuple[float, float]]:
    return {str(one.text): (float(one.get("x", "0")), float(one.get("y", "0"))) for one in root.iter(f"{SVG}text")}


def test_one_dot_and_one_name_for_each_subject() -> None:
    root = drawn(outcome("p<1>", 0.2, 5.0), outcome("b", 0.3, 4.0), outcome("p2", 0.25, 6.0, half=None))
    assert len(list(root.iter(f"{SVG}circle"))) == 3
    assert len(list(root.iter(f"{SVG}path"))) == 2  # error bars, where there are several seeds
    assert texts(root).keys() >= {"p<1>", "b", "p2", "oracle floor", "TTFT p95, s"}


def test_who_was_never_answered_is_left_out() -> None:
    silent = Outcome("p", "policy", {"blended_price": None, "ttft_p95": None}, {})
    assert len(list(drawn(silent, outcome("b", 0.3, 4.0)).iter(f"{SVG}circle"))) == 1
    assert list(drawn(silent).iter(f"{SVG}circle")) == []


points = st.tuples(st.floats(0.01, 5), st.floats(0.05, 100))


@given(st.lists(points, min_size=1, max_size=12))
def test_everything_is_within_the_picture_and_no_names_cover_each_other(found: list[tuple[float, float]]) -> None:
    outcomes = [outcome(f"policy-{place}", price, ttft) for place, (price, ttft) in enumerate(found)]
    root = drawn(*outcomes)
    for dot in root.iter(f"{SVG}circle"):
        assert 0 <= float(dot.get("cx", "-1")) <= WIDTH
        assert 0 <= float(dot.get("cy", "-1")) <= HEIGHT
    names = [place for name, place in texts(root).items() if name.startswith("policy-")]
    for number, (x, y) in enumerate(names):
        assert all(abs(y - other_y) >= 13 or abs(x - other_x) >= 40 for other_x, other_y in names[:number])


@given(st.floats(0.001, 1e4), st.floats(0.001, 1e4))
def test_ticks_are_round_and_on_the_axis(low: float, length: float) -> None:
    axis = Axis(low, low + length, 0.0, 100.0)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 10
    assert all(low < tick <= low + length for tick in ticks)
