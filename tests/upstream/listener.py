"""A listener that writes down what a reader says, and how to feed one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from gateway.types import Failure, Fault
from gateway.upstream.reader import Reader

OK: list[tuple[bytes, bytes]] = [(b"content-type", b"text/event-stream")]


@dataclass
class Listener:
    """`first_after` counts the pieces that had been fed, the one with the first token included."""

    fed: int = 0
    first_after: int | None = None
    chunks: list[bytes] = field(default_factory=list)
    ended: bool = False
    failure: Failure | None = None
    may_be_empty: bool = False

    @property
    def text(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def fault(self) -> str | None:
        return self.failure.fault if self.failure else None

    def on_first_token(self) -> None:
        assert self.first_after is None, "two first tokens"
        assert not self.ended, "a first token after the end"
        self.first_after = self.fed

    def on_comment(self, data: bytes) -> None:
        self.on_chunk(data)

    def on_chunk(self, data: bytes) -> None:
        assert self.first_after is not None, "a chunk before the first token"
        assert not self.ended, "a chunk after the end"
        self.chunks.append(data)

    def on_finished(self) -> None:
        self._end()

    def on_failed(self, failure: Failure) -> None:
        self._end()
        self.failure = failure

    def _end(self) -> None:
        assert not self.ended, "two ends"
        self.ended = True


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces that end at these places."""
    borders = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(borders)]


def feed(reader: Reader, listener: Listener, pieces: Sequence[bytes], lost: bool = False) -> Listener:
    """A 200 with this body, which then ends, or is cut."""
    reader.on_response(200, OK)
    for piece in pieces:
        listener.fed += 1
        reader.on_data(piece)
    if lost:
        reader.on_lost(Fault.CUT, "the host closed the connection within the answer")
    else:
        reader.on_complete()
    assert listener.ended, "no end"
    return listener
