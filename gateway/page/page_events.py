"""The events of one open page: what has changed since the last second.

    event: state      fields of endpoints and picks that changed, attempts in flight
    event: exchange   one finished exchange; those that failed first, others as room is left
    event: figures    every 10 s: history.json has a newer bucket
    a comment         after 15 s of silence

A stream carries at most `MOST_BYTES` a second before compression, at any load. Changes of state that do not fit are
sent a second later; exchanges that do not fit are only in `exchanges.json`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway.page.page_types import EndpointPage, PolicyPick, ShownExchange
from gateway.proxy.recent_exchanges import UNTROUBLED

MOST_BYTES = 4_500  # a second
MOST_OF_STATE = 3_000
FIGURES_EVERY = 10  # seconds
KEEP_ALIVE = 15
_LIVE = ("state", "why", "until", "in_flight")  # fields of an endpoint that change
_encode = msgspec.json.Encoder().encode

Fields = dict[str, Any]


class PageEvents:
    """Call `second` once a second. `number`: of the exchange after which it begins, as the feed counts them."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._seconds = 0
        self._quiet = 0
        self._sent: dict[tuple[str, str], Fields] = {}  # what the client knows, by kind and name
        self._in_flight = -1

    def second(
        self,
        endpoints: Iterable[EndpointPage],
        picks: Mapping[str, PolicyPick],
        live: Iterable[tuple[int, ShownExchange]],
        at: float,
    ) -> bytes:
        """The events of this second, perhaps none. `live` are the last exchanges of this model, by number; `at` is in
        unix time."""
        found = self._state(endpoints, picks, at)
        if self._seconds and self._seconds % FIGURES_EVERY == 0:
            found += b"event: figures\ndata: {}\n\n"
        found += self._exchanges(live, MOST_BYTES - len(found))
        self._seconds += 1
        self._quiet = 0 if found else self._quiet + 1
        if self._quiet >= KEEP_ALIVE:
            self._quiet = 0
            return b": still here\n\n"
        return found

    def _state(self, endpoints: Iterable[EndpointPage], picks: Mapping[str, PolicyPick], at: float) -> bytes:
        shown = list(endpoints)
        in_flight = sum(one.in_flight for one in shown)
        wanted = [("endpoints", one.id, {name: getattr(one, name) for name in _LIVE}) for one in shown]
        wanted += [("picks", name, self._pick(name, one)) for name, one in picks.items()]
        event: Fields = {"at": at, "in_flight": in_flight, "endpoints": {}, "picks": {}}
        room = MOST_OF_STATE
        for kind, name, fields in wanted:
            known = self._sent.get((kind, name), {})
            changed = {field: value for field, value in fields.items() if field not in known or known[field] != value}
            room -= len(_encode({name: changed})) if changed else 0
            if changed and room > 0:
                event[kind][name] = changed
                self._sent[kind, name] = fields
        if not (event["endpoints"] or event["picks"] or in_flight != self._in_flight):
            return b""
        self._in_flight = in_flight
        return _event("state", _encode(event))

    def _pick(self, name: str, one: PolicyPick) -> Fields:
        """Its figures move all the time: they are sent with another endpoint, or every `FIGURES_EVERY` seconds."""
        known = self._sent.get(("picks", name))
        if known and known["endpoint"] == one.endpoint and self._seconds % FIGURES_EVERY:
            return known
        return {"endpoint": one.endpoint, "why": one.why}

    def _exchanges(self, live: Iterable[tuple[int, ShownExchange]], room: int) -> bytes:
        """Those that failed first, the newest of each first; written in the order in which they ended."""
        new = [(number, one) for number, one in live if number > self._number]
        if not new:
            return b""
        self._number = new[-1][0]
        chosen: list[tuple[int, bytes]] = []
        for number, one in sorted(new, key=lambda each: (each[1].outcome in UNTROUBLED, -each[0])):
            written = _event("exchange", _encode(one))
            room -= len(written)
            if room < 0:
                break
            chosen.append((number, written))
        return b"".join(written for _, written in sorted(chosen))


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
