"""The virtual keys of a gateway that is not running, in the file of its state folder. Its next start brings them to the
store."""

from collections.abc import Iterable

from gateway.keys.key_file import KeyFile
from gateway.keys.key_record import KeyRecord


class FileRecords:
    """As `KeyStore`, over the file. Raises ConfigError if the file cannot be read, OSError if it cannot be written."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file

    def __repr__(self) -> str:
        return f"<FileRecords {self._file!r}>"

    async def records(self) -> list[KeyRecord]:
        return self._file.read()

    async def put(self, record: KeyRecord, seen: int) -> bool:
        others = [one for one in self._file.read() if one.name != record.name]
        self._file.write([*others, record])
        return True

    async def forget(self, names: Iterable[str]) -> None:
        gone = set(names)
        if gone:
            self._file.write(one for one in self._file.read() if one.name not in gone)
