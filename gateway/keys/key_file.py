"""The virtual keys in the state folder: what a gateway knows when it starts without its store. Digests only."""

import os
from collections.abc import Iterable
from pathlib import Path

from gateway.errors import ConfigError
from gateway.files import content, opened
from gateway.keys.key_record import KeyRecord, decoded_list, encoded

NAME = "keys.json"


class KeyFile:
    """`keys.json` of a state folder, readable by its owner only, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def __repr__(self) -> str:
        return f"<KeyFile {self._path}>"

    def read(self) -> list[KeyRecord]:
        """Empty if there is no file. Raises ConfigError if it cannot be read: to go on would let revoked keys in."""
        try:
            return decoded_list(content(self._path))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._path}: the keys cannot be read ({error}); restore or delete the file") from None

    def write(self, records: Iterable[KeyRecord]) -> None:
        """Raises OSError."""
        temporary = self._path.with_suffix(f".{os.getpid()}")
        with os.fdopen(opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            file.write(encoded(list(records)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
