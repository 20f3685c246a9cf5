"""Whether workers die repeatedly, as the supervisor reports it to the other workers, for `/health/ready` and the
metrics."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """`reason` says which; it is empty when all workers live again."""

    reason: str
