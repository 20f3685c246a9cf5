"""Whether workers die again and again, as the supervisor tells those that live, for `/health/ready` and the metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """`reason` says which; it is empty when all workers live again."""

    reason: str
