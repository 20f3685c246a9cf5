"""What another worker published through the store: a value with its writer and its age.

Every combination rule reads the latest value of each other worker, in any order, any number of times.
"""

from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value", covariant=True)
Part = TypeVar("Part")


class Posted(NamedTuple, Generic[Value]):
    """`worker` names the process that wrote it; `written` and `age` are seconds by the store's clock."""

    worker: bytes
    written: float
    age: float
    value: Value

    def of(self, part: Part) -> "Posted[Part]":
        """The same with `part`, a part of the value, in its place."""
        return Posted(self.worker, self.written, self.age, part)
