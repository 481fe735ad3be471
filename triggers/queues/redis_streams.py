"""Redis Streams: read in a consumer group, acknowledged in batches once the ledger has them.

XREADGROUP ── hand-off ── XACK. What a lost listener held is taken over once it has been idle for `claim_idle`; while
a hand-off waits, its entries are kept from looking idle.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from datetime import UTC, datetime
from typing import Any

import redis

from runtime.ledger.reads import Reads
from runtime.ledger.wire import AsyncWire, LedgerUnavailableError, raise_errors
from triggers.queues.listener import Desk, UnderWay, until_first
from triggers.queues.message import Message, SourceAwayError, SourceRefusedError

#: Entries read at once, and entries under way.
READ = 250
MOST = 1000
#: Seconds a read waits for entries.
BLOCK_S = 2.0
#: Seconds after which what a listener holds may be taken over, and deliveries after which an entry is a dead letter.
CLAIM_IDLE_S = 60.0
MAX_DELIVERIES = 20
#: Dead letters kept in their stream.
DEAD_LETTERS = 100_000
#: Milliseconds after which a consumer of ours that holds nothing is taken off the group's list.
FORGET_MS = 3600 * 1000

_PREFIX = "oncue-"

Entry = tuple[str, list[bytes] | None]


class StreamListener:
    """Reads one stream."""

    def __init__(self, desk: Desk, url: str) -> None:
        source = desk.source
        self._desk = desk
        self._stream, self._group, self._dead = source.name, source.group, source.dead_letter
        self._start = "$" if source.trigger.start == "latest" else "0"
        self._claim_idle_s = source.trigger.claim_idle_s or CLAIM_IDLE_S
        self._max_deliveries = source.trigger.max_deliveries or MAX_DELIVERIES
        self._consumer = f"{_PREFIX}{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._reader = AsyncWire(url, reply_timeout_s=BLOCK_S + 10)
        self._commands = Reads(url)
        self._under_way = UnderWay(max(MOST, 2 * source.trigger.batch))
        #: ids of the entries that are under way
        self._held: set[str] = set()

    async def run(self, stopping: asyncio.Event) -> None:
        """As `Listener.run`."""
        try:
            await self._join()
            self._desk.report.now("running")
            await until_first(stopping, self._read(), self._keep())
            await self._under_way.finish(self._desk.finish_s)
            await self._give_back()
        except LedgerUnavailableError as error:
            raise SourceAwayError(str(error)) from error
        except redis.ResponseError as error:
            raise SourceRefusedError(f"the stream {self._stream!r} cannot be read: {error}") from error
        finally:
            await self._under_way.cancel()
            await self._reader.close()
            await self._commands.close()

    async def _join(self) -> None:
        try:
            await self._commands.do("XGROUP", "CREATE", self._stream, self._group, self._start, "MKSTREAM")
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        for row in await self._commands.do("XINFO", "CONSUMERS", self._stream, self._group):
            known = _named(row)
            name = known[b"name"].decode()
            if name.startswith(_PREFIX) and known[b"pending"] == 0 and known[b"idle"] > FORGET_MS:
                await self._commands.do("XGROUP", "DELCONSUMER", self._stream, self._group, name)
        await self._look_for_lost()

    async def _look_for_lost(self) -> None:
        """Tell of entries that are gone and that the group has not been given, before the next read hides it."""
        try:
            stream = _named(await self._commands.do("XINFO", "STREAM", self._stream))
            groups = map(_named, await self._commands.do("XINFO", "GROUPS", self._stream))
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            return  # it was deleted under us; the read that follows makes it anew
        given = next((group.get(b"entries-read") for group in groups if group[b"name"] == self._group.encode()), None)
        # Redis before 7.0 counts neither, and a new group has no count until it is first read.
        if given is not None and (lost := stream[b"entries-added"] - stream[b"length"] - given) > 0:
            self._desk.report.counts["lost"] += lost
            self._desk.log.error("entries were trimmed from the stream before anyone read them", count=lost)

    async def _read(self) -> None:
        command = ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT")
        while True:
            await self._under_way.wait_for_room()
            if self._desk.hand_off.blocked_s:
                await self._desk.hand_off.unblocked()
                await self._look_for_lost()
            count = min(READ, self._under_way.room)
            (reply,) = await self._reader.send((*command, count, "BLOCK", int(BLOCK_S * 1000), "STREAMS", self._stream, ">"))
            if isinstance(reply, redis.ResponseError) and "NOGROUP" in str(reply):
                await self._join()  # the stream was deleted under us
                continue
            raise_errors([reply])
            if reply:
                self._begin([(entry.decode(), fields) for entry, fields in reply[0][1]])

    def _begin(self, entries: list[Entry]) -> None:
        entries = [entry for entry in entries if entry[0] not in self._held]
        if entries:
            self._held.update(entry for entry, _ in entries)
            self._under_way.begin(self._hand_over(entries), len(entries))

    async def _hand_over(self, entries: list[Entry]) -> None:
        done: list[str] = []
        try:
            work = [self._settle(entry, fields, done) for entry, fields in entries]
            await asyncio.gather(*work, return_exceptions=True)
        finally:
            self._held.difference_update(entry for entry, _ in entries)
            if done:
                # When the source goes away before it hears, the entries come again.
                with contextlib.suppress(LedgerUnavailableError):
                    await self._commands.do("XACK", self._stream, self._group, *done)

    async def _settle(self, entry: str, fields: list[bytes] | None, done: list[str]) -> None:
        """See to an entry; note in `done` that it may be acknowledged."""
        try:
            if fields:
                await self._desk.settle(_message(entry, fields), self._bury)
            else:
                self._lost(entry)
        except LedgerUnavailableError:
            return  # the source is away, and so are its dead letters
        except Exception:  # its dead letter was not taken; it is delivered again, up to its limit
            self._desk.log.exception("a dead letter could not be buried", message=entry)
            return
        done.append(entry)

    def _lost(self, entry: str) -> None:
        self._desk.report.counts["lost"] += 1
        self._desk.log.error("an entry was trimmed from the stream before it was read", message=entry)

    async def _keep(self) -> None:
        """Keep what waits from looking idle, and take over what others have left."""
        while True:
            try:
                if self._held:
                    await self._commands.do("XCLAIM", self._stream, self._group, self._consumer, 0, *self._held, "JUSTID")
                if not self._desk.hand_off.blocked_s:
                    await self._take_over()
            except redis.ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise  # else it was deleted under us; who reads makes it anew
            await asyncio.sleep(self._claim_idle_s / 3)

    async def _take_over(self) -> None:
        cursor, idle_ms = "0-0", int(self._claim_idle_s * 1000)
        while True:
            await self._under_way.wait_for_room()
            reply = await self._commands.do(
                "XAUTOCLAIM", self._stream, self._group, self._consumer, idle_ms, cursor, "COUNT", READ
            )
            # Redis 6.2 returns trimmed entries among the others, without fields; since 7.0 they come in a list of their own.
            cursor, entries = reply[0].decode(), [(entry.decode(), fields) for entry, fields in reply[1]]
            for entry in reply[2] if len(reply) > 2 else ():
                self._lost(entry.decode())
            self._begin(await self._within_limit(entries))
            if cursor == "0-0":
                return

    async def _within_limit(self, entries: list[Entry]) -> list[Entry]:
        """Bury those that were delivered too often; return the others."""
        if not entries:
            return []
        low, high = entries[0][0], entries[-1][0]
        rows = await self._commands.do("XPENDING", self._stream, self._group, low, high, MOST, self._consumer)
        deliveries = {row[0].decode(): row[3] for row in rows}
        kept: list[Entry] = []
        for entry, fields in entries:
            if not fields or deliveries.get(entry, 1) <= self._max_deliveries:
                kept.append((entry, fields))
                continue
            reason = f"delivered {deliveries[entry]} times without being handed over"
            try:
                await self._desk.refuse(_message(entry, fields), reason, self._bury)
            except redis.ResponseError:  # it is left to the next look; what is behind it goes on
                self._desk.log.exception("a dead letter could not be buried", message=entry)
            else:
                await self._commands.do("XACK", self._stream, self._group, entry)
        return kept

    async def _bury(self, message: Message, reason: str) -> None:
        fields: list[str | bytes] = []
        for name, value in message.original:
            fields += (name, value)
        why = ("oncue-reason", reason, "oncue-source", self._desk.source.url, "oncue-id", message.identity or "")
        await self._commands.do("XADD", self._dead, "MAXLEN", "~", DEAD_LETTERS, "*", *fields, *why)

    async def _give_back(self) -> None:
        """Let others take over at once what was read and not handed over; leave the group."""
        rows = await self._commands.do("XPENDING", self._stream, self._group, "-", "+", 10 * MOST, self._consumer)
        if not rows:
            await self._commands.do("XGROUP", "DELCONSUMER", self._stream, self._group, self._consumer)
            return
        command, how = ("XCLAIM", self._stream, self._group, self._consumer, 0), ("IDLE", int(self._claim_idle_s * 1000))
        # An orderly stop is no failed delivery: it is not counted.
        for count in {row[3] for row in rows}:
            ids = [row[0] for row in rows if row[3] == count]
            await self._commands.do(*command, *ids, *how, "RETRYCOUNT", max(count - 1, 0), "JUSTID")


def _message(entry: str, fields: list[bytes]) -> Message:
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in pairs}
    body = next((value for name, value in pairs if name == b"data"), None)
    milliseconds = int(entry.partition("-")[0])
    values: dict[str, Any] = {"original": pairs, "identity": entry, "time": _moment(milliseconds)}
    if body is None:
        return Message(b"", fields=texts, **values)
    content_type = texts.get("content-type")
    headers = {name: text for name, text in texts.items() if name not in ("data", "content-type")}
    return Message(body, headers=headers, content_type=content_type, **values)


def _named(row: list[Any]) -> dict[bytes, Any]:
    """Return a reply of XINFO by its names."""
    return dict(zip(row[::2], row[1::2], strict=True))


def _moment(milliseconds: int) -> datetime | None:
    # An id of the producer's own making need not be a time.
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
