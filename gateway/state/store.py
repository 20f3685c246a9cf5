"""The store: a Redis or Valkey that replicas share, asked by one task per worker over one connection.

    get ----> gets ---+                     +--> then(value)
                      +--> batch --> answers
    put ----> writes -+                     +--> counted
              one timer: a get older than the budget is a miss

Nothing here may hold up or fail a request. A get that is slow, refused or lost is a miss; a write that cannot be
taken is dropped and counted. While the store is down, gets miss at once, and the task asks PING with growing pauses.
Only commands that Redis 7.0 and Valkey share are used.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from gateway.errors import ConfigError

MAX_GETS = 1000  # unanswered
MAX_WRITES = 1000  # unsent
MAX_WRITE_BYTES = 64 * 1024 * 1024
BATCH = 128  # gets, and writes, in one round trip
BATCH_BYTES = 1024 * 1024  # of writes: the gets of the next batch wait behind them
ANSWER_WITHIN = 1.0  # seconds for one round trip, connecting included
FLUSH_WITHIN = 1.0  # seconds for the last writes
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts to reach the store

Then = Callable[[bytes | None], None]
Command = tuple[bytes | int, ...]

log = logging.getLogger(__name__)


class StoreStats(NamedTuple):
    """Counts since the start. Every command ends in one of these, or is a write that succeeded."""

    hits: int = 0
    misses: int = 0  # the store has no such key
    timeouts: int = 0  # gets without an answer within the budget
    errors: int = 0  # refused by the store, or lost with the connection
    dropped: int = 0  # never sent: the store was down, or the queue full


class _Get:
    __slots__ = ("deadline", "key", "then")

    def __init__(self, key: bytes, then: Then, deadline: float) -> None:
        self.key = key
        self.then: Then | None = then  # None once called
        self.deadline = deadline


class Store:
    """`url`: `redis://`, `rediss://` or `unix://`, passwords percent-encoded. `budget`: seconds a get may take.

    All methods belong to the event loop's thread. ConfigError when the URL cannot be read.
    """

    def __init__(self, url: str, *, budget: float = 0.025) -> None:
        self.where = _without_secrets(url)
        self._connection = _connection(url, self.where)
        self._budget = budget
        self._state: Literal["new", "up", "down", "closed"] = "new"
        self._gets: deque[_Get] = deque()  # not yet sent, oldest first
        self._waiting: deque[_Get] = deque()  # sent or not, but not yet answered, oldest first
        self._writes: deque[tuple[int, Command]] = deque()  # (bytes, command)
        self._write_bytes = 0
        self._sent_writes = 0  # unanswered
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._pause = FIRST_PAUSE
        self._hits = self._misses = self._timeouts = self._errors = self._dropped = 0

    def __repr__(self) -> str:
        return f"Store({self.where!r}, {self._state}, waiting={len(self._waiting)}, writes={len(self._writes)})"

    @property
    def healthy(self) -> bool:
        """Whether the store answered last time."""
        return self._state == "up"

    @property
    def stats(self) -> StoreStats:
        return StoreStats(self._hits, self._misses, self._timeouts, self._errors, self._dropped)

    def start(self) -> None:
        """Begin to connect; until that has happened every get is a miss."""
        self._task = asyncio.create_task(self._run(), name="store")

    async def close(self) -> None:
        """Send what is still to be written, for a second at most. Open gets are misses, later ones too."""
        healthy, self._state = self.healthy, "closed"
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=FLUSH_WITHIN if healthy else 0)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._abandon()
        if self._timer is not None:
            self._timer.cancel()
        await self._connection.disconnect()

    def get(self, key: bytes, then: Then) -> None:
        """Call `then` once, later, from the event loop: with the value, or with None for every kind of miss."""
        loop = asyncio.get_running_loop()
        if self._state != "up" or len(self._waiting) >= MAX_GETS:
            self._dropped += 1
            loop.call_soon(then, None)
            return
        get = _Get(key, then, loop.time() + self._budget)
        self._gets.append(get)
        self._waiting.append(get)
        self._wake.set()
        if self._timer is None:
            self._timer = loop.call_at(get.deadline, self._sweep)

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Set a key that lives for `ttl` seconds, soon and silently. A get of the same moment may still miss it."""
        self._write(len(value), (b"SET", key, value, b"PX", max(1, int(ttl * 1000))))

    def delete(self, key: bytes) -> None:
        """Remove a key, soon and silently."""
        self._write(0, (b"DEL", key))

    def _write(self, size: int, command: Command) -> None:
        full = len(self._writes) >= MAX_WRITES or self._write_bytes + size > MAX_WRITE_BYTES
        if self._state != "up" or full:
            self._dropped += 1
            return
        self._writes.append((size, command))
        self._write_bytes += size
        self._wake.set()

    async def _run(self) -> None:
        while self._state != "closed":
            try:
                await self._connect()
                await self._serve()
            except Exception as error:
                # Not only RedisError: a peer that speaks another protocol raises whatever the parser stumbles over.
                await self._went_down(error)

    async def _connect(self) -> None:
        async with asyncio.timeout(ANSWER_WITHIN):
            await self._send([(b"PING",)])
            answer = await self._connection.read_response(disable_decoding=True)
        if answer != b"PONG":
            raise ConnectionError("the answer to PING is not PONG")
        if self._state != "closed":
            self._state = "up"
            log.info("store %s is up", self.where)

    async def _serve(self) -> None:
        while self._state == "up":
            await self._wake.wait()
            self._wake.clear()
            while self._gets or self._writes:
                await self._exchange(self._next_gets(), self._next_writes())
                self._pause = FIRST_PAUSE

    async def _exchange(self, gets: list[_Get], writes: list[Command]) -> None:
        """One round trip. Gets go first, so that their answers do not wait for the writes."""
        self._sent_writes = len(writes)
        async with asyncio.timeout(ANSWER_WITHIN):
            await self._send([*((b"GET", get.key) for get in gets), *writes])
            for get in gets:
                self._take(get, await self._answer())
            for _ in writes:
                self._errors += isinstance(await self._answer(), ResponseError)
                self._sent_writes -= 1

    async def _send(self, commands: list[Command]) -> None:
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)

    async def _answer(self) -> object:
        """One answer. A refusal (out of memory, wrong type) concerns its command only, so it is a value."""
        try:
            return await self._connection.read_response(disable_decoding=True)
        except ResponseError as refusal:
            return refusal

    def _take(self, get: _Get, answer: object) -> None:
        if get.then is None:
            return  # it was too late, and counted so
        if isinstance(answer, bytes):
            self._hits += 1
            self._resolve(answer)
            return
        self._misses += answer is None
        self._errors += answer is not None
        self._resolve(None)

    def _next_gets(self) -> list[_Get]:
        return [self._gets.popleft() for _ in range(min(BATCH, len(self._gets)))]

    def _next_writes(self) -> list[Command]:
        taken: list[Command] = []
        left = BATCH_BYTES
        while self._writes and left > 0 and len(taken) < BATCH:
            size, command = self._writes.popleft()
            self._write_bytes -= size
            left -= size
            taken.append(command)
        return taken

    def _resolve(self, value: bytes | None) -> None:
        """Answer the oldest waiting get. Answers come in the order of the questions, and so do deadlines."""
        get = self._waiting.popleft()
        if get.then is not None:
            # Never called from here: what it raises is not this task's trouble.
            asyncio.get_running_loop().call_soon(get.then, value)
            get.then = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and self._waiting[0].deadline <= now:
            self._timeouts += 1
            self._resolve(None)
        while self._gets and self._gets[0].then is None:
            self._gets.popleft()
        self._timer = loop.call_at(self._waiting[0].deadline, self._sweep) if self._waiting else None

    async def _went_down(self, error: Exception) -> None:
        self._abandon()
        if self._state in ("new", "up"):
            reason = str(error) or f"no answer within {ANSWER_WITHIN:g} s"
            log.warning("store %s is down, going on without it: %s", self.where, reason)
            self._state = "down"
        await self._connection.disconnect(nowait=True)  # else a late answer would be taken for another's
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _abandon(self) -> None:
        """Give up all that is queued or sent."""
        self._errors += len(self._waiting) + self._sent_writes
        self._dropped += len(self._writes)
        while self._waiting:
            self._resolve(None)
        self._gets.clear()
        self._writes.clear()
        self._write_bytes = self._sent_writes = 0


def _without_secrets(url: str) -> str:
    """What logs and messages may show: never the user's part, never the query."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return f"unix://{parts.path}"
        if "@" in parts.path + parts.query + parts.fragment:
            raise ValueError
        return f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"
    except ValueError:
        raise ConfigError(
            "the store's URL cannot be read: write redis://user:password@host:port/0 with a percent-encoded password"
        ) from None


def _connection(url: str, where: str) -> AbstractConnection:
    try:
        pool = ConnectionPool.from_url(
            url,
            socket_timeout=ANSWER_WITHIN,
            socket_connect_timeout=ANSWER_WITHIN,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,  # CLIENT SETINFO is younger than Redis 7.0
            protocol=2,
        )
        connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    except (TypeError, ValueError):
        raise ConfigError(f"{where}: not a store's URL: use redis://, rediss:// or unix://") from None
    return connection
