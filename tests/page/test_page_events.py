"""What one page is sent each second: only changes, failures first, and never more than 5 KB."""

import json
from typing import Any

from gateway.page.endpoint_view import shown_endpoint
from gateway.page.exchange_view import shown_exchange
from gateway.page.page_events import FIGURES_EVERY, KEEP_ALIVE, MOST_BYTES, PageEvents
from gateway.page.page_types import EndpointPage, PolicyPick, ShownExchange
from gateway.route.fleet import Fleet
from tests.route.world import NOW, endpoint
from tests.support.rows import row

FLEET = Fleet([endpoint("a/fp8"), endpoint("b/fp8")])
PICK = PolicyPick("a/fp8", "cheapest", [], [])


def endpoints(**in_flight: int) -> list[EndpointPage]:
    found = []
    for name, state in FLEET.states.items():
        state.in_flight = in_flight.get(name.partition("/")[0], 0)
        found.append(shown_endpoint(state.endpoint, state, {}, {}, NOW, 0.0))
    return found


def events(written: bytes) -> list[tuple[str, Any]]:
    blocks = [block.split("\n") for block in written.decode().split("\n\n") if block]
    return [(lines[0].partition(": ")[2], json.loads(lines[1].partition(": ")[2])) for lines in blocks]


def exchanges(first: int, *outcomes: str) -> list[tuple[int, ShownExchange]]:
    return [
        (number, shown_exchange([row(exchange=f"{outcome}-{number}", outcome=outcome)], slow=False))
        for number, outcome in enumerate(outcomes, first)
    ]


def test_first_the_whole_state_then_only_what_changed() -> None:
    stream = PageEvents(0)
    (first,) = events(stream.second(endpoints(), {"floor": PICK}, (), 1.0))
    assert first[0] == "state"
    assert set(first[1]["endpoints"]) == {"a/fp8", "b/fp8"}
    assert first[1]["picks"] == {"floor": {"endpoint": "a/fp8", "why": "cheapest"}}
    assert stream.second(endpoints(), {"floor": PICK}, (), 2.0) == b""
    (changed,) = events(stream.second(endpoints(a=2), {"floor": PICK}, (), 3.0))
    assert changed[1] == {"at": 3.0, "in_flight": 2, "endpoints": {"a/fp8": {"in_flight": 2}}, "picks": {}}


def test_another_pick_comes_at_once_and_new_figures_of_it_every_ten_seconds() -> None:
    stream = PageEvents(0)
    stream.second(endpoints(), {"floor": PICK}, (), 0.0)
    dearer = PolicyPick("a/fp8", "cheapest by less", [], [])
    assert stream.second(endpoints(), {"floor": dearer}, (), 1.0) == b""
    ((_, moved),) = events(stream.second(endpoints(), {"floor": PolicyPick("b/fp8", "faster", [], [])}, (), 2.0))
    assert moved["picks"] == {"floor": {"endpoint": "b/fp8", "why": "faster"}}
    stream = PageEvents(0)
    stream.second(endpoints(), {"floor": PICK}, (), 0.0)
    sent = [stream.second(endpoints(), {"floor": dearer}, (), float(second)) for second in range(1, FIGURES_EVERY + 1)]
    assert sent[:-1] == [b""] * (FIGURES_EVERY - 1)
    assert events(sent[-1])[0][1]["picks"] == {"floor": {"why": "cheapest by less"}}
    assert events(sent[-1])[1] == ("figures", {})


def test_exchanges_come_once_in_their_order() -> None:
    stream = PageEvents(2)
    live = exchanges(1, "ok", "ok", "server", "ok")
    sent = events(stream.second([], {}, live, 0.0))
    assert [one["id"] for name, one in sent if name == "exchange"] == ["server-3", "ok-4"]
    assert stream.second([], {}, live, 1.0) == b""


def test_under_load_it_stays_small_and_drops_no_failure_before_a_good_one() -> None:
    """200 exchanges a second, 3 of them failed, and 30 endpoints whose requests in flight change all the time."""
    stream, many = PageEvents(0), Fleet([endpoint(f"host-{n}/fp8") for n in range(30)])
    picks = {
        f"policy-{n}": PolicyPick("a/fp8", "cheapest, $0.000212; 12 % under the next" * 2, [], []) for n in range(15)
    }
    number = 1
    for second in range(30):
        outcomes = ["ok"] * 90 + ["server"] * 3 + ["ok"] * 107
        live = exchanges(number, *outcomes)
        number += len(outcomes)
        for place, state in enumerate(many.states.values()):
            state.in_flight = second + place
        shown = [shown_endpoint(one.endpoint, one, {}, {}, NOW, 0.0) for one in many.states.values()]
        written = stream.second(shown, picks, live, float(second))
        assert len(written) <= MOST_BYTES
        named = [one["id"] for name, one in events(written) if name == "exchange"]
        assert sum(name.startswith("server") for name in named) == min(3, len(named))
        assert named == sorted(named, key=lambda name: int(name.partition("-")[2]))


def test_what_found_no_room_in_the_state_comes_later() -> None:
    stream = PageEvents(0)
    many = Fleet([endpoint(f"host-{n}/fp8") for n in range(80)])
    shown = [shown_endpoint(one.endpoint, one, {}, {}, NOW, 0.0) for one in many.states.values()]
    known: set[str] = set()
    for second in range(5):
        for _, state in events(stream.second(shown, {}, (), float(second))):
            known |= set(state["endpoints"])
    assert known == set(many.states)


def test_silence_is_broken_by_a_comment() -> None:
    stream = PageEvents(0)
    stream.second(endpoints(), {}, (), 0.0)
    sent = [stream.second(endpoints(), {}, (), 0.0) for _ in range(FIGURES_EVERY + KEEP_ALIVE)]
    assert [one for one in sent if one] == [b"event: figures\ndata: {}\n\n"] * 2
