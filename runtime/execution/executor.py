"""The life of one attempt: a claim comes in, a warm child runs the handler, a verdict goes out.

claim ── manifest of its version ── call in a child ── verdict ── committer ── finish
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec
import redis
import structlog

from runtime.authoring.manifest import FunctionManifest, Manifest
from runtime.authoring.options import FunctionOptions
from runtime.execution.endings import POOL_CLOSED
from runtime.execution.pool import Call, Failure
from runtime.execution.pools import Pools
from runtime.execution.verdicts import failed, judge
from runtime.ledger.committer import Committer
from runtime.ledger.ledger import Ledger
from runtime.ledger.records import Claim, Verdict
from runtime.ledger.store import ResultStore
from runtime.ledger.wire import LedgerUnavailableError

_JSON = msgspec.json.Encoder().encode
_TRACE = msgspec.json.Decoder(dict[str, str]).decode

T = TypeVar("T")

#: Seconds between two writes of a running handler's output.
OUTPUT_S = 0.25

#: Lines kept with an attempt that failed. What all attempts said is kept besides, in a stream that later ones push it out of.
LOG_TAIL_LINES = 20


class Holder(Protocol):
    """What the executor tells about the claims it runs (a carrier's holdings)."""

    def start(self, claim: Claim) -> bool: ...

    def ended(self, claim: Claim, duration_s: float) -> None: ...


class Executor:
    """Runs claims in children; called from many worker threads at once."""

    def __init__(
        self,
        ledger: Ledger,
        committer: Committer,
        pools: Pools,
        store: ResultStore,
        manifest: Callable[[str], Manifest],
    ) -> None:
        self._ledger = ledger
        self._committer = committer
        self._pools = pools
        self._store = store
        self._manifest = manifest
        self._functions: dict[tuple[str, str], FunctionManifest] = {}
        self._outputs: dict[str, _Output] = {}
        #: the attempts that run here, by invocation
        self._running: dict[str, Claim] = {}
        self._ended = threading.Condition()
        self._stopping = threading.Event()
        self._housekeeper = threading.Thread(target=self._keep_house, name="housekeeper", daemon=True)
        self._log = structlog.get_logger("oncue.executor")

    def start(self) -> None:
        """Begin to write output of running handlers and to end idle children."""
        self._housekeeper.start()

    def close(self) -> None:
        """End all children; what still runs is cut short and handed back."""
        self._stopping.set()
        self._housekeeper.join(5.0)
        self._pools.close()
        with self._ended:
            self._ended.wait_for(lambda: not self._running, 5.0)

    def run(self, claim: Claim, holder: Holder) -> None:
        """Run one attempt to its verdict. Never raises: what goes wrong on the host is a verdict, too."""
        if not holder.start(claim):
            return  # handed back while it waited for a thread
        started = time.monotonic()
        verdict: Verdict | None
        try:
            self._succeed_earlier(claim)
            verdict = self._attempt(claim)
        except Exception as error:  # noqa: BLE001  # each claim ends in a verdict
            self._log.exception("the host failed an attempt", id=claim.id, function=claim.function)
            verdict = failed(claim, self._options(claim), host_failure(error), duration_s=time.monotonic() - started)
        finally:
            with self._ended:
                del self._running[claim.id]
                self._ended.notify_all()
        holder.ended(claim, time.monotonic() - started)
        if verdict is not None:
            self._committer.commit(verdict)
        else:
            self._hand_back(claim)

    def let_go(self, claim: Claim, why: str) -> None:
        """End the child of a claim that was cancelled or given to another worker."""
        with self._ended:
            if self._running.get(claim.id) is claim:  # else it has just ended, or the next attempt has begun here
                self._log.info("letting go of an attempt", id=claim.id, attempt=claim.attempt, why=why)
                self._pools.cancel(claim.version, claim.id)

    def cancel(self, invocation_id: str) -> None:
        """End the child of an invocation that runs here; its verdict is then "cancelled"."""
        with self._ended:
            claim = self._running.get(invocation_id)
            if claim is not None:
                self._pools.cancel(claim.version, claim.id)

    def _succeed_earlier(self, claim: Claim) -> None:
        """Make this the one attempt that runs here: an earlier one, whose lease ran out under us, is ended first."""
        with self._ended:
            while (earlier := self._running.get(claim.id)) is not None:
                self._pools.cancel(earlier.version, earlier.id)
                self._ended.wait(1.0)
            self._running[claim.id] = claim

    def _hand_back(self, claim: Claim) -> None:
        """Give an attempt that the end of this process cut short to another worker; it is not counted."""
        try:
            self._ledger.hand_back(claim.queue, [claim])
        except LedgerUnavailableError:
            self._log.warning("an attempt was cut short; its lease runs out instead", id=claim.id)

    def _attempt(self, claim: Claim) -> Verdict | None:
        """Return the verdict on one call, or None when this process is ending and the call was cut short."""
        function = self._function(claim)
        options = function.options
        output = self._outputs[claim.id] = _Output(claim)
        try:
            ending = self._await_redis(lambda: self._pools.get(claim.version)).call(
                Call(
                    invocation_id=claim.id,
                    function=claim.function,
                    attempt=claim.attempt,
                    event=claim.event,
                    blob=claim.blob,
                    idempotency_key=claim.key,
                    timeout_s=options.timeout_s,
                    memory_bytes=options.memory_bytes,
                    trace=_TRACE(claim.trace) if claim.trace else {},
                    secrets=(*options.secrets, *options.optional_secrets),
                ),
                output.extend,
            )
        finally:
            del self._outputs[claim.id]
        if ending.failure is not None and ending.failure.type == POOL_CLOSED:
            return None
        return judge(claim, function, ending, output.rest(), self._store, said=output.last_lines())

    def _function(self, claim: Claim) -> FunctionManifest:
        key = (claim.version, claim.function)
        function = self._functions.get(key)
        if function is None:
            manifest = self._await_redis(lambda: self._manifest(claim.version))
            named = {function.name: function for function in manifest.functions}
            if claim.function not in named:
                raise LookupError(f"version {claim.version} has no function {claim.function!r}; it has {', '.join(named)}")
            function = self._functions[key] = named[claim.function]
        return function

    def _await_redis(self, read: Callable[[], T]) -> T:
        """Return what `read` reads from Redis; while that is away this waits, since it is no failure of the attempt."""
        while True:
            try:
                return read()
            except (redis.ConnectionError, redis.TimeoutError):
                if self._stopping.wait(0.5):
                    raise

    def _options(self, claim: Claim) -> FunctionOptions:
        known = self._functions.get((claim.version, claim.function))
        return known.options if known else FunctionOptions()

    def _keep_house(self) -> None:
        rounds = 0
        while not self._stopping.wait(OUTPUT_S):
            rounds += 1
            try:
                for output in list(self._outputs.values()):
                    output.write(self._ledger)
                if rounds % 4 == 0:
                    self._pools.reap_idle()
            except Exception:  # noqa: BLE001  # nobody starts this thread again
                self._log.exception("output could not be written, or idle children not be ended")


class _Output:
    """The output of one running attempt: written while it runs, the rest together with its verdict."""

    __slots__ = ("_claim", "_frames", "_lines", "_lock", "_progress", "_writing")

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._lock = threading.Lock()
        # Held while frames are on their way: what the verdict takes along must not overtake them, nor miss them.
        self._writing = threading.Lock()
        self._frames: list[bytes] = []
        self._lines: deque[str] = deque(maxlen=LOG_TAIL_LINES)
        self._progress = b""

    def extend(self, frames: list[dict[str, Any]]) -> None:
        with self._lock:
            for frame in frames:
                encoded = _JSON(frame)
                self._frames.append(encoded)
                if frame["kind"] == "progress":
                    self._progress = encoded
                else:
                    self._lines.append(frame["line"])

    def last_lines(self) -> list[str]:
        """Return the end of what it logged and printed."""
        with self._lock:
            return list(self._lines)

    def rest(self) -> list[bytes]:
        """Return what is not written yet, for the verdict to take along."""
        with self._writing:
            return self._take()

    def write(self, ledger: Ledger) -> None:
        with self._writing:
            frames = self._take()
            if frames:
                try:
                    ledger.append_output(self._claim, frames, self._progress)
                except LedgerUnavailableError:
                    with self._lock:
                        self._frames[:0] = frames

    def _take(self) -> list[bytes]:
        with self._lock:
            frames, self._frames = self._frames, []
            return frames


def host_failure(error: Exception) -> Failure:
    """Describe a failure of the host itself; it is retried like any other."""
    message = f"the host could not run this attempt: {type(error).__name__}: {error}"
    return Failure("host", type(error).__name__, message, None, [], None, False)
