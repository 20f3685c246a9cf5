"""One task with one connection to one server of the store: batches of gets and writes.

    get ----> gets ---+                     +--> then(value)
                      +--> batch --> replies
    put ----> writes -+                     +--> counted
              one timer: a get older than the budget is a miss

A get that is slow, rejected or lost is a miss; a write that cannot be queued is dropped and counted. Once a get has
waited for its whole budget, later ones miss at once until the server replies: a server that hangs delays only the
requests of that moment, and each of them once. While the server is down, gets miss at once, and the task reconnects
with exponential backoff; the server is up again with its first reply. Every two seconds, and after a rejected write, a
probe checks whether the server takes writes: a PING does not show that.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Literal

from gateway.state.queued import Get, Put, Then
from gateway.state.store_counts import StoreCounts
from gateway.state.store_error import ASKING, READONLY, Command, ErrorReply, StoreError
from gateway.state.topology import Redirect, Topology, probed

if TYPE_CHECKING:
    from gateway.state.store_connection import StoreConnection

MAX_GETS = 1000  # without a reply
MAX_WRITES = 1000  # not sent
MAX_WRITE_BYTES = 64 * 1024 * 1024
BATCH = 128  # gets, and writes, in one round trip
BATCH_BYTES = 1024 * 1024  # of writes: the next batch's gets wait behind them
REPLY_WITHIN = 1.0  # seconds to connect and log in, and for each round trip
FLUSH_WITHIN = 1.0  # seconds for the last writes
PROBE_EVERY = 2.0  # seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds between two attempts to connect
MOST_HOPS = 3  # of one get or write from server to server

log = logging.getLogger("gateway.state.store")


class Lane:
    """`name` is for logs. `redirect` takes over what this server does not have; `ended` is called when the server has
    no keys any more."""

    def __init__(
        self,
        topology: Topology,
        server: str,
        name: str,
        counts: StoreCounts,
        redirect: Callable[[Get | Put, str], bool],
        ended: Callable[["Lane"], None],
    ) -> None:
        self.server = server
        self._topology = topology
        self._name = name
        self._counts = counts
        self._redirect = redirect
        self._ended = ended
        self._state: Literal["new", "up", "down", "closed"] = "new"
        self._gets: deque[Get] = deque()  # not sent, oldest first
        self._waiting: deque[Get] = deque()  # sent or not, without a reply, oldest first
        self._writes: deque[Put] = deque()
        self._unsent: dict[bytes, bytes] = {}  # the values of `_writes` by key: gets overtake writes
        self._write_bytes = 0
        self._sent_writes = 0  # without a reply
        self._replying = True  # False from a get that timed out during a round trip to the end of that
        self._under_way = False  # a round trip is under way
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._pause = FIRST_PAUSE
        self._probe_requested = False
        self._prober: asyncio.TimerHandle | None = None
        self._last_problem: str | None = None  # the last probe's problem
        self.problem: str | None = "not connected yet"  # None while it is reachable and takes writes
        self._task = asyncio.create_task(self._run(), name="store")

    def __repr__(self) -> str:
        return f"<Lane {self._name}: {self._state}, waiting={self.waiting}, writes={self.writes}>"

    @property
    def healthy(self) -> bool:
        """Whether the server was reachable at the last attempt, and took writes."""
        return self._state == "up" and self.problem is None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def writes(self) -> int:
        return len(self._writes)

    async def close(self) -> None:
        """Sends the queued writes, for a second at most. Open gets are misses, and so are later ones."""
        healthy, self._state = self.healthy, "closed"
        self._wake.set()
        await asyncio.wait({self._task}, timeout=FLUSH_WITHIN if healthy else 0)
        self._task.cancel()
        await asyncio.wait({self._task})
        self._end()

    def get(self, command: Command, then: Then, budget: float) -> None:
        """Calls `then` once, later, from the event loop. `command` is a GET or GETEX; `budget` in seconds."""
        loop = asyncio.get_running_loop()
        if (value := self._unsent.get(command[1])) is not None:  # type: ignore[arg-type]  # keys are bytes
            self._counts.hits += 1
            loop.call_soon(then, value)
            return
        if self._state != "up" or not self._replying or len(self._waiting) >= MAX_GETS:
            self._counts.dropped += 1
            loop.call_soon(then, None)
            return
        self._take_get(Get(command, then, loop.time() + budget))

    def put(self, key: bytes, value: bytes, ttl: float) -> None:
        full = len(self._writes) >= MAX_WRITES or self._write_bytes + len(value) > MAX_WRITE_BYTES
        if self._state != "up" or full:
            self._counts.dropped += 1
            return
        self._take_put(Put(key, value, ttl))

    def take(self, one: Get | Put) -> bool:
        """Takes over a redirected command, before the first connection too; False where it cannot be sent."""
        if self._state not in ("new", "up") or len(self._waiting) >= MAX_GETS or len(self._writes) >= MAX_WRITES:
            return False
        if isinstance(one, Get):
            self._take_get(one)
        else:
            self._take_put(one)
        return True

    def _take_get(self, get: Get) -> None:
        self._gets.append(get)
        self._waiting.append(get)
        self._wake.set()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(get.deadline, self._sweep)

    def _take_put(self, put: Put) -> None:
        self._writes.append(put)
        self._unsent[put.key] = put.value
        self._write_bytes += len(put.value)
        self._wake.set()

    async def _run(self) -> None:
        while self._state != "closed":
            try:
                async with asyncio.timeout(REPLY_WITHIN):
                    connection = await self._topology.open(self.server)
                with closing(connection):
                    await self._serve(connection)
            except Exception as error:
                # Not only OSError: the gateway must go on without its store, and this task must not end.
                await self._handle_loss(error)
            if self.server not in self._topology.servers():
                self._state = "closed"
                self._end()
                self._ended(self)

    async def _serve(self, connection: "StoreConnection") -> None:
        """Returns when closed, when the server has no keys any more, or when a server that was a master is none."""
        await self._probe(connection)
        if self._state != "closed":
            self._state = "up"  # not before it replied: some servers accept connections and then hang
        while self._state == "up":
            await self._wake.wait()
            self._wake.clear()
            while self._gets or self._writes:
                await self._exchange(connection, self._next_gets(), self._next_writes())
                self._pause = FIRST_PAUSE
            if self._probe_requested and await self._probe(connection):
                return

    async def _probe(self, connection: "StoreConnection") -> bool:
        """Whether another server should be looked for."""
        command, reply = self._topology.probe(self.server), None
        self._under_way = True
        async with asyncio.timeout(REPLY_WITHIN):
            if command is None:
                await self._topology.load()
            else:
                await connection.send([command])
                reply = await connection.receive()
        self._under_way, self._replying = False, True
        problem = probed(command, reply) if command else None
        self._set_problem(str(problem) if problem else None)
        self._probe_requested = False
        self._cancel_prober()
        self._prober = asyncio.get_running_loop().call_later(PROBE_EVERY, self._request_probe)
        # A master that became a replica: a new connection goes to the new one, by its name or by the Sentinels.
        return command is None or (isinstance(problem, ErrorReply) and problem.code == READONLY)

    def _cancel_prober(self) -> None:
        if self._prober is not None:
            self._prober.cancel()

    def _request_probe(self) -> None:
        self._probe_requested = True
        self._wake.set()

    def _set_problem(self, problem: str | None) -> None:
        before, self.problem = self.problem, problem
        if problem is None and before is not None:
            log.info("store %s is up", self._name)
        elif problem is not None and problem != self._last_problem:
            log.warning("store %s takes no writes, going on without it: %s", self._name, problem)
        self._last_problem = problem

    async def _exchange(self, connection: "StoreConnection", gets: list[Get], writes: list[Put]) -> None:
        """One round trip. Gets go first, so that their replies do not wait for the writes."""
        self._sent_writes = len(writes)
        self._under_way = True
        commands: list[Command] = []
        for one in chain[Get | Put](gets, writes):
            if one.asking:
                commands.append(ASKING)
            commands.append(one.command)
        if await connection.ended():  # what is read as the reply to a get must not be that to another command
            raise StoreError("the store closed the connection, or sent a reply to no command")
        async with asyncio.timeout(REPLY_WITHIN):
            await connection.send(commands)
            for get in gets:
                if get.asking:
                    await connection.receive()
                await self._take_reply(get, await connection.receive())
            for put in writes:
                if put.asking:
                    await connection.receive()
                reply = await connection.receive()
                self._sent_writes -= 1
                if isinstance(reply, ErrorReply) and not await self._redirected(put, reply):
                    self._counts.errors += 1
                    self._probe_requested |= self.problem is None
        self._under_way, self._replying = False, True

    async def _take_reply(self, get: Get, reply: object) -> None:
        if get.then is None:
            return  # it timed out, and was counted
        if isinstance(reply, bytes):
            self._counts.hits += 1
            self._resolve(reply)
            return
        if isinstance(reply, ErrorReply) and await self._redirected(get, reply):
            self._waiting.popleft()
            return
        self._counts.misses += reply is None
        self._counts.errors += reply is not None
        self._resolve(None)

    async def _redirected(self, one: Get | Put, reply: ErrorReply) -> bool:
        """Whether another server has taken it over."""
        target: Redirect | None = await self._topology.redirect(reply, self.server)
        if target is None or one.hops >= MOST_HOPS:
            return False
        one.hops, one.asking = one.hops + 1, target.asking
        return self._redirect(one, target.server)

    def _next_gets(self) -> list[Get]:
        return [self._gets.popleft() for _ in range(min(BATCH, len(self._gets)))]

    def _next_writes(self) -> list[Put]:
        taken: list[Put] = []
        left = BATCH_BYTES
        while self._writes and left > 0 and len(taken) < BATCH:
            put = self._writes.popleft()
            self._write_bytes -= len(put.value)
            left -= len(put.value)
            taken.append(put)
            if self._unsent.get(put.key) is put.value:  # else another write of this key waits
                del self._unsent[put.key]
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
            self._counts.timeouts += 1
            self._replying = not self._under_way
            self._resolve(None)
        while self._gets and self._gets[0].then is None:
            self._gets.popleft()
        self._timer = loop.call_at(self._waiting[0].deadline, self._sweep) if self._waiting else None

    async def _handle_loss(self, error: Exception) -> None:
        self._abandon()
        reason = self.problem = str(error) or f"no reply within {REPLY_WITHIN:g} s"
        if self._state in ("new", "up"):
            log.warning("store %s is down, going on without it: %s", self._name, reason)
            self._state = "down"
        await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        try:
            async with asyncio.timeout(REPLY_WITHIN):
                await self._topology.load()
        except Exception:  # the next attempt to connect says why
            log.debug("the servers of store %s are not known", self._name, exc_info=True)

    def _abandon(self) -> None:
        """Gives up everything queued or sent."""
        self._counts.errors += len(self._waiting) + self._sent_writes
        self._counts.dropped += len(self._writes)
        while self._waiting:
            self._resolve(None)
        self._gets.clear()
        self._writes.clear()
        self._unsent.clear()
        self._write_bytes = self._sent_writes = 0
        self._under_way, self._replying = False, True

    def _end(self) -> None:
        self._abandon()
        self._cancel_prober()
        if self._timer is not None:
            self._timer.cancel()
