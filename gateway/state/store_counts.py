"""How the commands of a store ended."""


class StoreCounts:
    """Counts since the start, of all lanes. Every command ends in one of these, or is a successful write."""

    __slots__ = ("dropped", "errors", "hits", "misses", "timeouts")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0  # no such key in the store
        self.timeouts = 0  # gets without a reply within the budget
        self.errors = 0  # rejected by the store, or lost with the connection
        self.dropped = 0  # never sent: the store was down or did not reply, or the queue full

    def __repr__(self) -> str:
        return f"<StoreCounts {', '.join(f'{name} {getattr(self, name)}' for name in self.__slots__)}>"
