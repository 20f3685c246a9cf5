"""One answer of a host while its bytes are parsed: status and headers, pieces of the body, whether it is complete.

    bytes -> feed -> httptools -> callbacks set -> status, headers, pieces, complete, reusable, problem

The connection reads these after each feed, so that the pieces of one read are joined into one call.
"""

from collections.abc import Callable

import httptools

CODING = b"content-encoding"
QUIET_LIMIT = 64 * 1024  # bytes without progress: without a complete head, a piece of body, or the end


class Incoming:
    """`status` is 0 until the final headers are complete; `problem` says why the rest cannot be read.

    `pieces` are those of the body since they were last cleared. `quiet` counts the bytes since the parser last made
    progress. `until_close`: the body ends where the connection does. `packed`: it has a content coding.
    """

    __slots__ = (
        "_parser",
        "complete",
        "headers",
        "on_body",
        "packed",
        "pieces",
        "problem",
        "quiet",
        "reusable",
        "status",
        "until_close",
    )

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body: Callable[[bytes], None] = self.pieces.append  # httptools' callback, for every event of a stream
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.begin()

    def begin(self) -> None:
        """Resets for the next answer."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces.clear()
        self.quiet = 0
        self.complete = False
        self.reusable = False
        self.until_close = False
        self.problem = ""
        self.packed = False

    def __repr__(self) -> str:
        return f"<Incoming {self.status or 'head'}{' complete' if self.complete else ''}>"

    def close(self) -> None:
        """Stops parsing. Breaks the reference cycle with the parser."""
        self._parser = None

    def feed(self, data: bytes | memoryview) -> None:
        """Parses `data`. Not after `close`."""
        assert self._parser is not None
        self.quiet += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.problem = self.problem or f"the host sent bytes that are not HTTP: {error}"
        if self.pieces:
            self.quiet = 0
        elif self.quiet > QUIET_LIMIT and not self.problem:
            self.problem = f"the host sent over {QUIET_LIMIT} bytes of headers or framing without content"

    def spoil(self, problem: str) -> None:
        """Discards the body: it cannot be used."""
        self.problem, self.complete = problem, False
        self.pieces.clear()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        if self.complete:
            self._refuse("the host sent a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # later headers are trailers
            name = name.lower()
            self.headers.append((name, value))
            if name == CODING:
                self.packed = True

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            if status < 100 or status == 101:  # 101 switches the protocol
                self._refuse(f"the host sent an unexpected status {status}")
            return
        if self.quiet > QUIET_LIMIT and sum(len(n) + len(v) + 4 for n, v in self.headers) > QUIET_LIMIT:
            self._refuse(f"the host sent headers of over {QUIET_LIMIT} bytes")
        if not self._parser.should_keep_alive():  # so the framing may need a check
            self._check_framing()
        self.status = status
        self.quiet = 0

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if not self.status:  # the end of a 1xx response
            self.headers, self.packed = [], False
            return
        self.complete = True
        self.quiet = 0
        self.reusable = self._parser.should_keep_alive()  # the parser resets it after this callback

    def _check_framing(self) -> None:
        """Sets `until_close`, and refuses framing that cannot be read."""
        assert self._parser is not None
        if not self._parser.get_http_version().startswith("1."):
            self._refuse("the host does not use HTTP/1.1")
        fields = dict(self.headers)
        coding = fields.get(b"transfer-encoding", b"chunked")
        if coding.lower() != b"chunked":
            self._refuse("the host sent an unexpected transfer coding")
        self.until_close = fields.keys().isdisjoint((b"content-length", b"transfer-encoding"))

    def _refuse(self, problem: str) -> None:
        """Stops the parser."""
        self.problem = problem
        raise httptools.HttpParserError(problem)
