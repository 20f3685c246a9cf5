"""What a translated answer comes to: a sink for tests without a connection."""

from gateway.types.sink import Headers, Source


class Kept:
    """A sink that keeps what it is told."""

    def __init__(self) -> None:
        self.status = 0
        self.data = b""
        self.ended = False

    def start(self, status: int, headers: Headers) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        assert data
        self.data += data

    def end(self) -> None:
        self.ended = True

    def abort(self) -> None: ...
    def moves_on(self) -> bool:
        return False

    def attach(self, source: Source) -> None: ...
