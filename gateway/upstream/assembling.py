"""Reads a streamed answer for a client that did not request a stream: it assembles the whole answer, and reports the
first token, progress and the end.

So the first-token, idle and total timeouts apply to it as they do to a stream.
"""

from typing import Any

from gateway.upstream.reader import Reader
from gateway.upstream.whole_reader import WholeReader, whole_of


class AssemblingReader(WholeReader):
    """A streamed answer. `on_chunk` and `on_comment` are called with no bytes. `completion` is set as soon as every
    choice has ended: only usage and `[DONE]` may still follow."""

    __slots__ = ()

    def _chunk(self, payload: dict[str, Any], deltas: int) -> None:
        if self.finished:
            return
        super()._chunk(payload, deltas)
        if self._over:
            return
        if deltas and not self._begun:
            self._begun = True
            self._listener.on_first_token()
        if deltas:
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
