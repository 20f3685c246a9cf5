"""Metrics of reloads: of the policy files, and of gateway.yaml with all that belongs to it."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class ReloadMetrics:
    """Of one kind of file: `name` is its part of the metrics' names, `files` says which files."""

    def __init__(self, registry: CollectorRegistry, name: str, invalid: str, files: str) -> None:
        self._count = Counter(f"gateway_{name}_reloads_total", f"Reloads of {files}.", ["result"], registry=registry)
        for result in ("ok", "rejected"):
            self._count.labels(result)  # exposed at 0
        about = f"1 while {files} on disk cannot be used and what was loaded before stays in force."
        self._invalid = Gauge(f"gateway_{invalid}", about, registry=registry, multiprocess_mode="livemax")

    def reloaded(self, ok: bool) -> None:
        """Counts a reload; `ok` is false where the files on disk are invalid."""
        self._count.labels("ok" if ok else "rejected").inc()
        self._invalid.set(not ok)
