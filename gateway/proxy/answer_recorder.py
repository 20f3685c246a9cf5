"""Collects one answer to be stored, exactly as it was sent to the client."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.cache.response_cache import CachedAnswer, assemble
from gateway.errors import ClientError
from gateway.upstream import sse

LARGEST_KEPT = 2 * 1024 * 1024  # bytes of a streamed answer; assembled, it takes a tenth of that
Hidden = Mapping[int, str]  # reasoning by choice that the client does not get


class AnswerRecorder:
    """Calls `save` with the whole answer, and with what was hidden from its client.

    An answer that is too large, or cannot be assembled, is not stored. All of this is done by `later`, after the client
    has the end of its answer, and never affects it. A stream whose end lacks `mark` is not stored. `unix` is the wall
    clock."""

    __slots__ = ("_later", "_mark", "_parts", "_save", "_size", "_unix")

    def __init__(
        self,
        save: Callable[[CachedAnswer, Hidden], object],
        later: Callable[[Callable[[], None]], None],
        unix: Callable[[], float],
        mark: bytes = b"",
    ) -> None:
        self._save = save
        self._later = later
        self._unix = unix
        self._mark = mark
        self._parts: list[bytes] = []
        self._size = 0

    def tee(self, write: Callable[[bytes], None]) -> Callable[[bytes], None]:
        """Passes pieces on to `write`, and records them."""

        def both(data: bytes) -> None:
            write(data)
            self.take(data)

        return both

    def take(self, data: bytes) -> None:
        """A piece of a streamed answer."""
        self._size += len(data)
        if self._size <= LARGEST_KEPT:
            self._parts.append(data)
        else:
            self._parts.clear()

    def stream(self, tail: bytes, endpoint: str, hidden: Hidden) -> None:
        """The stream has ended well, with `tail`."""
        self.take(tail)
        if self._parts and self._mark in tail:
            unix = self._unix()
            self._later(lambda: self._assemble(endpoint, unix, hidden))

    def _assemble(self, endpoint: str, unix: float, hidden: Hidden) -> None:
        completion = assemble(sse.payloads(b"".join(self._parts)))
        if completion is not None:
            self._save(CachedAnswer(completion, endpoint, unix), hidden)

    def failed(self, error: ClientError | None, head: Mapping[str, Any]) -> None:
        """There is no whole answer; without an error, because the client has left. Nothing is stored."""

    def whole(self, completion: dict[str, Any], endpoint: str, hidden: Hidden) -> None:
        one = CachedAnswer(completion, endpoint, self._unix())

        def save() -> None:
            self._save(one, hidden)

        self._later(save)
