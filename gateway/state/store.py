"""The store: a Redis or Valkey that replicas share, used by one task per worker over one connection.

    get ----> gets ---+                     +--> then(value)
                      +--> batch --> replies
    put ----> writes -+                     +--> counted
              one timer: a get older than the budget is a miss

Nothing here may delay or fail a request. A get that is slow, rejected or lost is a miss; a write that cannot be queued
is dropped and counted. While the store is down, gets miss at once, and the task reconnects with exponential backoff.
Every two seconds, and after a rejected write, a probe checks whether the store takes writes: a PING does not show that.
Only commands that Redis 7.0 and Valkey share are used.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import closing
from typing import Literal, NamedTuple

from hiredis import ReplyError

from gateway.config.store_address import StoreAddress
from gateway.state.resp import PROBE, PROBED, Command, RespConnection, rejection

MAX_GETS = 1000  # without a reply
MAX_WRITES = 1000  # not sent
MAX_WRITE_BYTES = 64 * 1024 * 1024
BATCH = 128  # gets, and writes, in one round trip
BATCH_BYTES = 1024 * 1024  # of writes: the next batch's gets wait behind them
GET_WITHIN = 0.025  # seconds; a request waits for it
REPLY_WITHIN = 1.0  # seconds to connect and log in, and for each round trip
FLUSH_WITHIN = 1.0  # seconds for the last writes
PROBE_EVERY = 2.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts to connect

Then = Callable[[bytes | None], None]

log = logging.getLogger(__name__)


class StoreStats(NamedTuple):
    """Counts since the start. Every command ends in one of these, or is a successful write."""

    hits: int = 0
    misses: int = 0  # no such key in the store
    timeouts: int = 0  # gets without a reply within the budget
    errors: int = 0  # rejected by the store, or lost with the connection
    dropped: int = 0  # never sent: the store was down, or the queue full


class _Get:
    __slots__ = ("command", "deadline", "then")

    def __init__(self, command: Command, then: Then, deadline: float) -> None:
        self.command = command
        self.then: Then | None = then  # None once called
        self.deadline = deadline


class Store:
    """`url`: as `StoreAddress.parse` reads it. `budget`: seconds that a get may take.

    All methods must be called from the event loop's thread. ConfigError when the URL is invalid.
    """

    def __init__(self, url: str, *, budget: float = GET_WITHIN) -> None:
        self._address = StoreAddress.parse(url)
        self._budget = budget
        self._state: Literal["new", "up", "down", "closed"] = "new"
        self._gets: deque[_Get] = deque()  # not sent, oldest first
        self._waiting: deque[_Get] = deque()  # sent or not, without a reply, oldest first
        self._writes: deque[tuple[bytes, bytes, float]] = deque()  # (key, value, TTL in seconds)
        self._unsent: dict[bytes, bytes] = {}  # the values of `_writes` by key: gets overtake writes
        self._write_bytes = 0
        self._sent_writes = 0  # without a reply
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._pause = FIRST_PAUSE
        self._probe_requested = False
        self._prober: asyncio.TimerHandle | None = None
        self._last_problem: str | None = None  # the last probe's problem
        self.problem: str | None = "not connected yet"  # None while it is reachable and takes writes
        self._hits = self._misses = self._timeouts = self._errors = self._dropped = 0

    def __repr__(self) -> str:
        return f"Store({str(self._address)!r}, {self._state}, waiting={len(self._waiting)}, writes={len(self._writes)})"

    @property
    def healthy(self) -> bool:
        """Whether the store was reachable at the last attempt, and took writes."""
        return self._state == "up" and self.problem is None

    @property
    def stats(self) -> StoreStats:
        return StoreStats(self._hits, self._misses, self._timeouts, self._errors, self._dropped)

    def start(self) -> None:
        """Starts connecting; until connected, every get is a miss."""
        self._task = asyncio.create_task(self._run(), name="store")

    async def close(self) -> None:
        """Sends the queued writes, for a second at most. Open gets are misses, and so are later ones."""
        healthy, self._state = self.healthy, "closed"
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=FLUSH_WITHIN if healthy else 0)
            self._task.cancel()
            await asyncio.wait({self._task})
        self._abandon()
        self._cancel_prober()
        if self._timer is not None:
            self._timer.cancel()

    def get(self, key: bytes, then: Then, ttl: float = 0.0) -> None:
        """Calls `then` once, later, from the event loop: with the value, or with None for every kind of miss.

        `ttl`: if given, an existing key expires that many seconds from now.
        """
        loop = asyncio.get_running_loop()
        if self._state != "up" or len(self._waiting) >= MAX_GETS:
            self._dropped += 1
            loop.call_soon(then, None)
            return
        if (value := self._unsent.get(key)) is not None:
            self._hits += 1
            loop.call_soon(then, value)
            return
        command = (b"GETEX", key, *_expiry(ttl)) if ttl else (b"GET", key)
        get = _Get(command, then, loop.time() + self._budget)
        self._gets.append(get)
        self._waiting.append(get)
        self._wake.set()
        if self._timer is None:
            self._timer = loop.call_at(get.deadline, self._sweep)

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        """Sets a key that expires after `ttl` seconds, asynchronously. Later gets of this worker find it."""
        full = len(self._writes) >= MAX_WRITES or self._write_bytes + len(value) > MAX_WRITE_BYTES
        if self._state != "up" or full:
            self._dropped += 1
            return
        self._writes.append((key, value, ttl))
        self._unsent[key] = value
        self._write_bytes += len(value)
        self._wake.set()

    async def _run(self) -> None:
        while self._state != "closed":
            try:
                async with asyncio.timeout(REPLY_WITHIN):
                    connection = await RespConnection.open(self._address)
                with closing(connection):
                    await self._serve(connection)
            except Exception as error:
                # Not only OSError: the gateway must go on without its store, and this task must not end.
                await self._handle_loss(error)

    async def _serve(self, connection: RespConnection) -> None:
        if self._state != "closed":
            self._state = "up"
        await self._probe(connection)
        while self._state == "up":
            await self._wake.wait()
            self._wake.clear()
            while self._gets or self._writes:
                await self._exchange(connection, self._next_gets(), self._next_writes())
                self._pause = FIRST_PAUSE
            if self._probe_requested:
                await self._probe(connection)

    async def _probe(self, connection: RespConnection) -> None:
        async with asyncio.timeout(REPLY_WITHIN):
            await connection.send([PROBE])
            reply = await connection.receive()
        self._set_problem(None if reply == PROBED else rejection(PROBE, reply))
        self._probe_requested = False
        self._cancel_prober()
        self._prober = asyncio.get_running_loop().call_later(PROBE_EVERY, self._request_probe)

    def _cancel_prober(self) -> None:
        if self._prober is not None:
            self._prober.cancel()

    def _request_probe(self) -> None:
        self._probe_requested = True
        self._wake.set()

    def _set_problem(self, problem: str | None) -> None:
        before, self.problem = self.problem, problem
        if problem is None and before is not None:
            log.info("store %s is up", self._address)
        elif problem is not None and problem != self._last_problem:
            log.warning("store %s takes no writes, going on without it: %s", self._address, problem)
        self._last_problem = problem

    async def _exchange(self, connection: RespConnection, gets: list[_Get], writes: list[Command]) -> None:
        """One round trip. Gets go first, so that their replies do not wait for the writes."""
        self._sent_writes = len(writes)
        async with asyncio.timeout(REPLY_WITHIN):
            await connection.send([*(get.command for get in gets), *writes])
            for get in gets:
                self._take(get, await connection.receive())
            for _ in writes:
                if isinstance(await connection.receive(), ReplyError):
                    self._errors += 1
                    self._probe_requested |= self.problem is None
                self._sent_writes -= 1

    def _take(self, get: _Get, answer: object) -> None:
        if get.then is None:
            return  # it timed out, and was counted
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
            key, value, ttl = self._writes.popleft()
            self._write_bytes -= len(value)
            left -= len(value)
            taken.append((b"SET", key, value, *_expiry(ttl)))
            if self._unsent.get(key) is value:  # else another write of this key waits
                del self._unsent[key]
        return taken

    def _resolve(self, value: bytes | None) -> None:
        """Completes the oldest waiting get. Replies come in the order of the gets, and so do deadlines."""
        get = self._waiting.popleft()
        if get.then is not None:
            # Never called from here: its exceptions must not end this task.
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

    async def _handle_loss(self, error: Exception) -> None:
        self._abandon()
        reason = self.problem = str(error) or f"no reply within {REPLY_WITHIN:g} s"
        if self._state in ("new", "up"):
            log.warning("store %s is down, going on without it: %s", self._address, reason)
            self._state = "down"
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _abandon(self) -> None:
        """Gives up everything queued or sent."""
        self._errors += len(self._waiting) + self._sent_writes
        self._dropped += len(self._writes)
        while self._waiting:
            self._resolve(None)
        self._gets.clear()
        self._writes.clear()
        self._unsent.clear()
        self._write_bytes = self._sent_writes = 0


def _expiry(ttl: float) -> Command:
    return b"PX", max(1, int(ttl * 1000))
