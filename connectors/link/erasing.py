"""An order of erasure (UU 27/2022) as a connector obeys it: two persons' signatures first, then its own files.

    ErasureOrdered --read_erasure--> Erasure --spool, agency's own files--> contents gone, identities and digests kept

A fact that the hub has not taken yet is doomed: it is sent, since what happened must be told and no sequence number may
be missing, and goes with the receipt that settles it. Everything may be done again, to no effect.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from connectors.link.delivery import Delivered
from connectors.link.fault import HubUnreachable, TrustFault
from connectors.link.metrics import LinkMetrics
from connectors.link.trust import Trust
from contracts.erasure import ERASED_TEXT, ERASED_WORKER, Erasure, read_erasure
from contracts.errors import RegistryError
from contracts.events.hub import ErasureOrdered

NOTE: Final = "erasure"

#: Members of events and of what agencies are told that hold free text, which may name somebody.
_TEXTS: Final = frozenset(("answer", "question", "text", "detail", "statement"))

Erase = Callable[[Erasure], Awaitable[None]]

_log = structlog.get_logger()


def blank(told: Any) -> Any:
    """Return what somebody is told without anything personal: a worker, and free text."""
    if isinstance(told, list):
        return [blank(each) for each in told]
    if not isinstance(told, dict):
        return told
    blanked: dict[str, Any] = {}
    for name, value in told.items():
        if name in ("worker", "person") and isinstance(value, dict):
            blanked[name] = dict(ERASED_WORKER)
        else:
            blanked[name] = ERASED_TEXT if name in _TEXTS and isinstance(value, str) else blank(value)
    return blanked


async def erase_nothing(_: Erasure) -> None:
    """Erase for an agency that keeps nothing beside the spool."""


class Eraser:
    """Obeys orders, and raises the alarm on one that is not signed as it must be."""

    def __init__(self, trust: Trust, erases: tuple[Erase, ...], metrics: LinkMetrics) -> None:
        self._trust = trust
        self._erases = erases
        self._metrics = metrics

    async def obey(self, delivered: Delivered, ordered: ErasureOrdered) -> None:
        """Erase what an order names; a forged one erases nothing and is passed over, so that the stream goes on."""
        try:
            erasure = await self._read(delivered, ordered)
        except RegistryError as error:
            self._metrics.erasures.labels("refused").inc()
            self._metrics.notes[NOTE] = (
                f"An order to erase came on {delivered.topic} (seq {delivered.seq}) that is not signed as it must be"
                f" ({error.code}): nothing was erased. Somebody may speak in the hub's name: call its operator."
            )
            _log.error("an order to erase is refused", topic=delivered.topic, seq=delivered.seq, code=error.code)
            return
        for erase in self._erases:
            await erase(erasure)
        self._metrics.erasures.labels("obeyed").inc()
        _log.info("an order to erase was obeyed", order=erasure.order, topic=delivered.topic, seq=delivered.seq)

    async def _read(self, delivered: Delivered, ordered: ErasureOrdered) -> Erasure:
        """Verify; if that fails, once more under a fresh registry, which may know other persons."""
        try:
            return self._verified(delivered, ordered)
        except RegistryError as error:
            _log.warning("an order to erase does not verify", code=error.code)
        try:
            await self._trust.refresh()
        except (HubUnreachable, TrustFault) as fault:
            _log.warning("the registry could not be renewed", why=str(fault))
        return self._verified(delivered, ordered)

    def _verified(self, delivered: Delivered, ordered: ErasureOrdered) -> Erasure:
        # An old order that is read again counts by when the hub passed it on.
        root, at = self._trust.registry.root, delivered.envelope.time
        return read_erasure(ordered.document.encode(), ordered.order, ordered.cases, root, at)
