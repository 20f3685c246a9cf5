"""The values of metrics: in memory, with a copy in a file that the other workers read.

    inc, set ──> Image (memory) ──publish()──> FOLDER/counter_4711.db      changed pages
    collect() <── own images, from memory; those of the other workers, from their files

prometheus-client would map such files into memory. Then a full disk, a truncated file or a disk error kills the process
by SIGBUS, which no `except` catches. Plain writes raise OSError, and the next `publish` repeats them.

    image    8 bytes: used length | entries
    entry    4 bytes: length of the key | key, JSON | padding to 8 bytes | 8 bytes: value
"""

import errno
import json
import os
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.registry import Collector

from gateway.files import content, opened
from gateway.telemetry.prometheus_internals import empty_metric, make_values_with, merged

PAGE = 4096  # bytes per write
_HEAD, _LENGTH, _VALUE = struct.Struct("<Q"), struct.Struct("<I"), struct.Struct("<d")
_Entry = tuple[bytes, float]


class Image:
    """Named values of one kind of metric, and the file at `path` through which other processes read them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = bytearray(_HEAD.pack(_HEAD.size))
        self._changed: set[int] = {0}  # pages not written yet

    def __repr__(self) -> str:
        return f"<Image {self.path}: {len(self._data)} bytes, {len(self._changed)} pages to write>"

    def add(self, key: bytes) -> int:
        """Adds a value of 0; returns its offset."""
        start, padding = len(self._data), -(_LENGTH.size + len(key)) % 8
        self._data += _LENGTH.pack(len(key)) + key + bytes(padding + _VALUE.size)
        self._changed |= {0, *range(start // PAGE, (len(self._data) - 1) // PAGE + 1)}
        _HEAD.pack_into(self._data, 0, len(self._data))
        return len(self._data) - _VALUE.size

    def write(self, at: int, value: float) -> None:
        _VALUE.pack_into(self._data, at, value)  # aligned, so that no page and no reader has half of it
        self._changed.add(at // PAGE)

    def entries(self) -> Iterator[_Entry]:
        return _entries(bytes(self._data))

    def publish(self) -> None:
        """Writes the changed pages, or the whole file if it is missing. Raises OSError; the next call writes what is
        missing."""
        file = opened(self.path, os.O_RDWR | os.O_CREAT)
        try:
            if os.fstat(file).st_size < len(self._data):
                self._changed.update(range((len(self._data) - 1) // PAGE + 1))
            for page in sorted(self._changed, reverse=True):  # page 0 with the used length comes last
                part = self._data[page * PAGE : (page + 1) * PAGE]
                if os.pwrite(file, part, page * PAGE) != len(part):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                self._changed.discard(page)
        finally:
            os.close(file)


class Values(Collector):
    """The values of this process, published for the other workers in `folder`.

    A process has one active `Values`: new metrics use the one that was created last.
    """

    def __init__(self, folder: Path, process: str = "") -> None:
        """`process` is used in file names instead of the process id."""
        self._folder = folder
        self._process = process or str(os.getpid())
        self._images: dict[str, Image] = {}
        self.unread: OSError | None = None  # why the last `collect` skipped another worker's file
        make_values_with(self._value)

    def __repr__(self) -> str:
        return f"<Values {self._folder}: {', '.join(self._images)}>"

    def publish(self) -> None:
        """Writes the files. A missing folder is created again.

        Raises OSError, also where another worker's file could not be read by the last `collect` and still cannot be.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        failed: OSError | None = None
        for image in self._images.values():
            try:
                image.publish()
            except OSError as error:
                failed = error
        if self.unread is not None:
            list(self._all())  # does it still fail?
        failed = failed or self.unread
        if failed is not None:
            raise failed

    def collect(self) -> Iterable[Metric]:
        """The metrics of all workers, as far as their files can be read. Never raises OSError."""
        metrics: dict[str, Metric] = {}
        for path, entries in self._all():
            kind, mode, process = _parts(path)
            for key, value in entries:
                family, name, labels, text = _named(key)
                metric = metrics.get(family)
                if metric is None:
                    metric = metrics[family] = empty_metric(family, text, kind, mode)
                own = (*labels, ("pid", process)) if kind == "gauge" else labels
                metric.add_sample(name, own, value)  # type: ignore[arg-type]
        return merged(metrics)

    def pids(self) -> list[str]:
        """The workers that have published, and this process."""
        found = {_parts(path)[2] for path in self._files()}
        return sorted(pid for pid in found | {self._process} if pid.isdecimal())

    def _value(
        self,
        kind: str,
        family: str,
        name: str,
        labels: Iterable[str],
        own: Iterable[str],
        text: str,
        multiprocess_mode: str = "",
    ) -> "Value":
        """A value of a metric under construction, with prometheus-client's arguments."""
        file = f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind
        image = self._images.get(file)
        if image is None:
            image = self._images[file] = Image(self._folder / f"{file}_{self._process}.db")
        key = json.dumps([family, name, dict(zip(labels, own, strict=True)), text], sort_keys=True)
        return Value(image, key.encode())

    def _all(self) -> Iterator[tuple[Path, Iterator[_Entry]]]:
        images = {image.path: image for image in list(self._images.values())}
        for path, image in images.items():
            yield path, image.entries()
        self.unread = None
        for path in sorted(set(self._files()) - images.keys()):
            try:
                yield path, _entries(content(path))
            except FileNotFoundError:
                continue  # the worker has ended
            except OSError as error:
                self.unread = error

    def _files(self) -> list[Path]:
        try:
            return list(self._folder.glob("*_*.db"))
        except OSError as error:
            self.unread = error
            return []


class Value:
    """One value. Only the event loop's thread changes it."""

    def __init__(self, image: Image, key: bytes) -> None:
        self._image = image
        self._at = image.add(key)
        self._value = 0.0

    def inc(self, amount: float) -> None:
        self.set(self._value + amount)

    def set(self, value: float) -> None:
        if value != self._value:
            self._value = float(value)
            self._image.write(self._at, self._value)

    def get(self) -> float:
        return self._value


def _entries(data: bytes) -> Iterator[_Entry]:
    """The entries of a whole or partly written image."""
    at = _HEAD.size
    end = min(_HEAD.unpack_from(data)[0], len(data)) if len(data) >= at else 0
    while at + _LENGTH.size <= end:
        (length,) = _LENGTH.unpack_from(data, at)
        key = at + _LENGTH.size
        value = key + length + -(_LENGTH.size + length) % 8
        at = value + _VALUE.size
        if at <= end:
            yield data[key : key + length], _VALUE.unpack_from(data, value)[0]


def _parts(path: Path) -> tuple[str, str, str]:
    """Kind, mode and process from the file name of an image."""
    kind, *mode, process = path.stem.split("_")
    return kind, "".join(mode), process


@lru_cache(maxsize=65_536)
def _named(key: bytes) -> tuple[str, str, tuple[tuple[str, str], ...], str]:
    family, name, labels, text = json.loads(key)
    return family, name, tuple(sorted(labels.items())), text
