"""The exchanges that one worker has under way, so that each of them ends when the worker stops."""

from typing import Protocol


class Stoppable(Protocol):
    def stop(self) -> None:
        """Ends the exchange: its outcome is written, and its client gets an error or is cut off."""


class UnderWay(set[Stoppable]):
    """The caller adds an exchange when it begins, and it discards itself at its end. Once this is `closed`, a new one
    is stopped at once."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def __repr__(self) -> str:
        return f"<UnderWay {len(self)} exchanges{', closed' if self.closed else ''}>"

    def close(self) -> None:
        """Stops every exchange."""
        self.closed = True
        for exchange in list(self):
            exchange.stop()
