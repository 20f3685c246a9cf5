"""When the worker stops, each exchange under way is stopped once."""

from gateway.proxy.under_way import UnderWay


class Exchange:
    """It leaves the set when it is stopped, as a live one does."""

    def __init__(self, under_way: UnderWay) -> None:
        self.stopped = 0
        self._under_way = under_way
        under_way.add(self)

    def stop(self) -> None:
        self.stopped += 1
        self._under_way.discard(self)


def test_all_are_stopped_and_the_set_knows_that_it_is_closed() -> None:
    under_way = UnderWay()
    exchanges = [Exchange(under_way) for _ in range(3)]
    assert (under_way.closed, repr(under_way)) == (False, "<UnderWay 3 exchanges>")
    under_way.close()
    under_way.close()
    assert [one.stopped for one in exchanges] == [1, 1, 1]
    assert (under_way.closed, repr(under_way)) == (True, "<UnderWay 0 exchanges, closed>")
