"""How long a client may keep a worker waiting, and who makes room when there are too many."""

from dataclasses import dataclass, field

import pytest

from gateway.server.connections import (
    ANSWER,
    BODY,
    FIRST,
    HEAD,
    IDLE,
    SPARE,
    UNREAD,
    Connections,
    Deadlines,
    most_connections,
)

LIMITS = Deadlines(
    first=20, head=20, stalled=30, grace=40, rate=1000, unread=5, drained=5, idle=75, look=1
)  # seconds, and bytes a second


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass(eq=False)
class Client:
    """A connection as the table sees it."""

    phase: int = FIRST
    since: float = 1_000.0
    received: int = 0
    begun: int = 0
    moved: int = 0
    moved_at: float = 1_000.0
    held: bool = False
    heard: list[str] = field(default_factory=list)

    def is_held(self) -> bool:
        return self.held

    def too_slow(self) -> None:
        self.heard.append("408")

    def close(self) -> None:
        self.heard.append("closed")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def table(clock: Clock, *clients: Client, most: int = 100) -> Connections:
    connections = Connections(most, clock, LIMITS)
    for client in clients:
        assert connections.add(client)
    return connections


def look_for(connections: Connections, clock: Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1
        connections.look()


@pytest.mark.parametrize(
    ("phase", "limit", "end"),
    [(FIRST, 20, "closed"), (IDLE, 75, "closed"), (UNREAD, 5, "closed"), (HEAD, 20, "408"), (BODY, 30, "408")],
)
def test_a_silent_client_is_waited_for_so_long(phase: int, limit: int, end: str, clock: Clock) -> None:
    client = Client(phase)
    connections = table(clock, client)
    look_for(connections, clock, limit)
    assert client.heard == []
    look_for(connections, clock, 1)
    assert client.heard == [end]


def test_an_answer_may_take_any_time(clock: Clock) -> None:
    client = Client(ANSWER)
    look_for(table(clock, client), clock, 1_000)
    assert client.heard == []


@pytest.mark.parametrize(("rate", "lasts"), [(2_000, True), (1_000, True), (999, False), (1, False)])
def test_a_body_has_a_rate(rate: int, lasts: bool, clock: Clock) -> None:
    """16 MB at 1 KB/s would be five hours: as long as it goes on, it may."""
    client = Client(BODY)
    connections = table(clock, client)
    for second in range(1, 300):
        client.received += rate
        look_for(connections, clock, 1)
        if client.heard:
            assert (second, client.heard[0]) == (41, "408")
            break
    assert (client.heard == []) == lasts


def test_a_fast_start_buys_no_long_pause(clock: Clock) -> None:
    client = Client(BODY)
    connections = table(clock, client)
    client.received = 10_000_000
    look_for(connections, clock, 31)
    assert client.heard == []
    look_for(connections, clock, 1)
    assert client.heard == ["408"]


def test_a_body_that_was_slow_before_it_began_is_not_late(clock: Clock) -> None:
    """The connection may have been idle for long."""
    client = Client(IDLE)
    connections = table(clock, client)
    look_for(connections, clock, 70)
    client.phase, client.since, client.received = BODY, clock.now, 100
    look_for(connections, clock, 30)
    assert client.heard == []


@pytest.mark.parametrize("phase", [HEAD, BODY])
def test_who_is_held_up_by_us_has_time(phase: int, clock: Clock) -> None:
    """A request behind another, whose answer is under way."""
    client = Client(phase, held=True)
    connections = table(clock, client)
    look_for(connections, clock, 500)
    client.held = False
    look_for(connections, clock, 20)
    assert client.heard == []


@pytest.mark.parametrize("received", [0, 100_000_000])
def test_a_half_sent_body_does_not_hold_a_drain(received: int, clock: Clock) -> None:
    client = Client(BODY, received=received)
    connections = table(clock, client)
    look_for(connections, clock, 3)
    connections.drain()
    connections.drain()
    for _ in range(5):
        client.received += 1_000_000
        look_for(connections, clock, 1)
    assert client.heard == []
    look_for(connections, clock, 1)
    assert client.heard == ["408"]


@pytest.mark.parametrize("phase", [FIRST, IDLE])
def test_who_sends_nothing_is_closed_at_once_in_a_drain(phase: int, clock: Clock) -> None:
    """One that was accepted when the end had begun."""
    client = Client(phase)
    connections = table(clock, client)
    connections.drain()
    look_for(connections, clock, 1)
    assert client.heard == ["closed"]


def test_the_longest_idle_make_room(clock: Clock) -> None:
    idle = [Client(IDLE, since=1_000.0 - age) for age in (1, 9, 5)]
    silent = Client(FIRST)
    busy = [Client(ANSWER, since=0.0), Client(HEAD, since=0.0), Client(BODY, since=0.0)]
    connections = table(clock, *busy, *idle, silent, most=7)
    heard = []
    for _ in range(4):
        assert connections.add(Client(ANSWER))
        heard.append([client.heard for client in (silent, idle[1], idle[2], idle[0])].count(["closed"]))
    assert heard == [1, 2, 3, 4]
    assert [client.heard for client in busy] == [[], [], []]


def test_slow_requests_make_room_when_none_is_idle_and_answers_never_do(clock: Clock) -> None:
    slow, slower, held = Client(BODY), Client(HEAD, since=900.0), Client(BODY, since=0.0, held=True)
    busy = Client(ANSWER)
    connections = table(clock, slow, slower, held, busy, most=4)
    assert connections.add(Client(ANSWER))
    assert (slower.heard, slow.heard) == (["closed"], [])
    assert connections.add(Client(ANSWER))
    assert slow.heard == ["closed"]
    assert not connections.add(Client(ANSWER))
    assert (busy.heard, held.heard) == ([], [])


def test_of_many_some_make_room_at_once(clock: Clock) -> None:
    """So that a flood of newcomers does not cost a look at all of them each."""
    clients = [Client(IDLE) for _ in range(1_000)]
    connections = table(clock, *clients, most=1_000)
    assert connections.add(Client())
    assert sum(client.heard == ["closed"] for client in clients) == 11


def test_who_has_left_takes_no_room(clock: Clock) -> None:
    client = Client(ANSWER)
    connections = table(clock, client, most=1)
    assert not connections.add(Client())
    connections.discard(client)
    assert connections.add(Client())


@pytest.mark.parametrize(("soft", "most"), [(256, 80), (1_024, 464), (10, 1), (10_000_000, 65_536), (-1, 65_536)])
def test_each_client_leaves_a_descriptor_for_a_host(soft: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.server.connections.getrlimit", lambda _: (soft, -1))
    assert most_connections() == most


def test_spare_connections_are_bounded_and_the_first_that_waits_makes_room(clock: Clock) -> None:
    connections = table(clock, Client(ANSWER), most=1)
    assert not connections.add(Client(HEAD))
    spare = [Client(ANSWER), *(Client(HEAD) for _ in range(SPARE - 1))]
    assert all(connections.add_spare(one) for one in spare)
    assert connections.add_spare(Client(ANSWER))
    assert [one.heard for one in spare[:3]] == [[], ["closed"], []]
    for one in spare:
        one.phase = ANSWER
    assert not connections.add_spare(Client(FIRST))
    assert connections.busy() == SPARE + 1
    connections.discard(spare[0])
    assert connections.add_spare(Client(FIRST))


def test_a_spare_connection_has_the_same_timeouts(clock: Clock) -> None:
    connections, silent = table(clock, Client(ANSWER), most=1), Client(FIRST)
    assert connections.add_spare(silent)
    look_for(connections, clock, 21)
    assert silent.heard == ["closed"]
