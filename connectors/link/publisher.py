"""Signs what the spool holds and sends it to this participant's topic, always the same bytes.

Two loops side by side: one signs what waits (a batch signature for two and more), one sends what is signed. While a
signature is being stored more facts arrive, so batches grow by themselves under load, up to BATCH_SIZE_MAX.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from connectors.link import failpoint, tracing
from connectors.link.broker import Broker
from connectors.link.clock import Clock, utc_now
from connectors.link.fact import Author, Signed, Unsigned
from connectors.link.message import audience_of
from connectors.link.metrics import LinkMetrics
from connectors.link.retry import keep_trying, where
from connectors.link.spool import Spool
from connectors.link.tasks import run_together
from contracts.wire import base64url
from contracts.wire.key import Signer
from contracts.wire.signature import (
    BATCH_SIZE_MAX,
    NO_PREVIOUS_ROOT,
    TYP_EVENT,
    headers_of,
    root_of,
    sign_batch,
    sign_single,
)

RESEND_AFTER = timedelta(hours=12)
OVERDUE_CHECK_S = 60.0
TAKE_BACK_EVERY = timedelta(seconds=OVERDUE_CHECK_S)
SEND_ROWS_MAX = 500
STOP_TIMEOUT_S = 10.0
HOLD_CHECK_S = 1.0

_log = structlog.get_logger()


class Publisher:
    """Moves rows of the spool from waiting to signed to sent."""

    def __init__(
        self,
        spool: Spool,
        author: Author,
        key: Signer | Callable[[], Signer],
        broker: Broker,
        metrics: LinkMetrics,
        *,
        may_sign: Callable[[], bool] = lambda: True,
        revoked: Callable[[], frozenset[str]] = frozenset,
        clock: Clock = utc_now,
    ) -> None:
        """`key` is a key, or what gives the key to sign with now; `revoked` gives the kids that must not any more.

        `may_sign` is false while the registry does not know the key, since what it signed would be refused, and while
        this spool may be an old copy: then nothing is signed and nothing is sent.
        """
        self._spool = spool
        self._author = author
        self._given_key = key
        self._broker = broker
        self._topic = broker.physical(f"from.{author.participant}")
        self._metrics = metrics
        self._may_sign = may_sign
        self._revoked = revoked
        self._taken_back_at = clock() - TAKE_BACK_EVERY
        self._clock = clock
        self._producer: AIOKafkaProducer | None = None

    @property
    def _key(self) -> Signer:
        return self._given_key() if callable(self._given_key) else self._given_key

    async def run(self) -> None:
        """Sign and send for ever; ends only by cancellation or by an error that no retry mends."""
        try:
            await run_together(self._sign_for_ever(), self._send_for_ever())
        finally:
            await self._discard_producer()

    # --- signing -----------------------------------------------------------------------------------------------------

    async def _sign_for_ever(self) -> None:
        told = False
        while True:
            self._spool.arrived.clear()
            if not self._may_sign():
                if not told:
                    _log.warning("nothing is sent until the registry holds the key of KEY_FILE", kid=self._key.kid)
                told = True
                await asyncio.sleep(HOLD_CHECK_S)
            elif await self.sign_waiting() == 0:
                await self._spool.arrived.wait()

    async def sign_waiting(self) -> int:
        """Sign the oldest messages that wait, at most one batch, and store the signatures; return how many."""
        rows = await self._spool.waiting(BATCH_SIZE_MAX)
        if not rows:
            return 0
        failpoint.reach("publish.before_sign")
        if len(rows) == 1:
            signed, chain = self._sign_each(rows), None
        else:
            signed, chain = self._sign_together(rows, await self._spool.note("link/chain"))
        await self._spool.store_signatures(signed, chain)
        return len(rows)

    def _sign_each(self, rows: Sequence[Unsigned]) -> list[tuple[int, str, str | None]]:
        return [(row.sequence, sign_single(row.value, self._key, TYP_EVENT), None) for row in rows]

    def _sign_together(
        self, rows: Sequence[Unsigned], chain: str | None
    ) -> tuple[list[tuple[int, str, str | None]], str | None]:
        previous = None if chain is None else base64url.decode(chain.encode())
        try:
            jws, proofs = sign_batch(
                [row.value for row in rows],
                self._key,
                iss=self._author.source,
                aud=audience_of(self._author),
                first=rows[0].sequence,
                last=rows[-1].sequence,
                prev=previous or NO_PREVIOUS_ROOT,
                iat=self._clock(),
            )
        except ValueError as error:
            # A batch that cannot be signed must not hold its messages back: each can stand alone.
            _log.error("signing singly, since the batch cannot be signed", error=where(error))
            return self._sign_each(rows), None
        signed: list[tuple[int, str, str | None]] = [
            (row.sequence, jws, proof) for row, proof in zip(rows, proofs, strict=True)
        ]
        return signed, base64url.encode(root_of(jws))

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _send_for_ever(self) -> None:
        while True:
            self._spool.signed.clear()
            # What was signed before a restart waits too, until it is known that this spool is no old copy.
            if not self._may_sign():
                await asyncio.sleep(HOLD_CHECK_S)
                continue
            await self.take_back_revoked()
            # One batch of each in turn: neither what is fresh nor what a long outage has left waits for the other.
            sent, again = await self.send_signed(), await self.resend_overdue()
            if sent or again:
                continue
            try:
                async with asyncio.timeout(OVERDUE_CHECK_S):
                    await self._spool.signed.wait()
            except TimeoutError:
                continue

    async def take_back_revoked(self) -> int:
        """Let be signed anew what a key signed that is revoked now, unless the hub has accepted it; return how many.

        The hub refuses such a message whenever it comes, and takes the same one under another key. That is looked for
        every minute, since a refusal may come long after the revocation.
        """
        revoked, now = self._revoked(), self._clock()
        if not revoked or now - self._taken_back_at < TAKE_BACK_EVERY:
            return 0
        self._taken_back_at = now
        taken_back = await self._spool.take_back(revoked)
        if taken_back:
            _log.warning("signing anew what a revoked key signed", rows=taken_back)
        return taken_back

    async def send_signed(self) -> int:
        """Send the oldest signed messages and note them as sent; return how many. Waits while the broker is away."""
        rows = await self._spool.unsent(SEND_ROWS_MAX)
        sent = await self._deliver(rows)
        tracing.show_published(rows, f"from.{self._author.participant}")
        return sent

    async def resend_overdue(self) -> int:
        """Send again, unasked, what has had no receipt for RESEND_AFTER; return how many."""
        rows = await self._spool.overdue(self._clock() - RESEND_AFTER, SEND_ROWS_MAX)
        if rows:
            _log.warning("sending again what has no receipt", rows=len(rows))
            self._metrics.resent.inc(len(rows))
        return await self._deliver(rows)

    async def _deliver(self, rows: Sequence[Signed]) -> int:
        if rows:
            await keep_trying(
                "publish",
                lambda: self._send(rows),
                (KafkaError, OSError, AssertionError),
                sentence="the broker takes no messages: check KAFKA_BOOTSTRAP, TOPIC_PREFIX and the topic's rights",
            )
            await self._spool.mark_sent([row.sequence for row in rows])
            self._metrics.sent.inc(len(rows))
            self._metrics.see("broker", self._clock())
        return len(rows)

    async def _send(self, rows: Sequence[Signed]) -> None:
        """Send the rows and await every one of them; after any error the producer is thrown away."""
        try:
            producer = await self._started_producer()
            failpoint.reach("publish.before_send")
            acknowledged = [
                await producer.send(
                    self._topic,
                    row.value,
                    key=row.subject.encode(),
                    headers=[*headers_of(row.jws, row.jws_proof), *tracing.write_trace_headers(row.value)],
                )
                for row in rows
            ]
            outcomes = await asyncio.gather(*acknowledged, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
            failpoint.reach("publish.after_send")
        except BaseException:
            # An idempotent producer in doubt about one batch may drop the next one: a new one knows no doubt.
            await self._discard_producer()
            raise

    async def _started_producer(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = self._broker.producer()
            await self._producer.start()
        return self._producer

    async def _discard_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await producer.stop()
        except (TimeoutError, KafkaError, OSError) as error:
            _log.warning("the old producer did not close", error=where(error))
