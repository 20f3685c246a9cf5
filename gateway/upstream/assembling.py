"""Reads a stream for a client that gets it whole, and tells of the first token, of progress and of the end.

So the clocks of a stream hold for an answer that is not streamed.
"""

from typing import Any

from gateway.upstream.reader import Reader
from gateway.upstream.whole import WholeReader, whole_of


class AssemblingReader(WholeReader):
    """A streamed answer. `on_chunk` and `on_comment` get no bytes. `completion` is there as soon as each choice has
    ended: only usage and `[DONE]` may still come."""

    __slots__ = ()

    def _chunk(self, payload: dict[str, Any], said: int) -> None:
        if self.finished:
            return
        super()._chunk(payload, said)
        if self._over:
            return
        if said and not self._begun:
            self._begun = True
            self._listener.on_first_token()
        if said:
            self._listener.on_chunk(b"")
        else:
            self._quiet()
        if self._assembly is not None and len(self._ended_choices) >= self._choices:
            self._accept(whole_of(self._assembly))

    def _stopped(self) -> None:
        Reader._stopped(self)

    def _quiet(self) -> None:
        if self._begun:
            self._listener.on_comment(b"")
