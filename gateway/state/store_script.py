"""A Lua script and its name on the server."""

from hashlib import sha1


class StoreScript:
    """`text` is the script; `name` what EVALSHA calls it."""

    __slots__ = ("name", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.name = sha1(text.encode(), usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<StoreScript {self.name[:8]}>"
