"""The frame of a connector's process: settings, trust, spool, publisher, subscriber, HTTP door, supervised tasks."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter

from connectors.link.delivery import Delivered
from connectors.link.settings import ConnectorSettings
from connectors.link.spool import Spool


@dataclass(frozen=True, slots=True)
class Link:
    """What the link lends to an agency's own code while the process runs."""

    settings: ConnectorSettings
    spool: Spool


@dataclass(frozen=True, slots=True)
class Agency:
    """What an agency's own code adds to the link.

    `handle` must be idempotent: after a crash a record is delivered again. Receipts are settled before it sees them.
    A task of `tasks` that raises LinkFault ends the process with its sentence; on any other error it is started again
    after a pause.
    """

    handle: Callable[[Delivered], Awaitable[None]]
    tasks: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    routes: APIRouter | None = None


def run_service(
    settings: ConnectorSettings, join: Callable[[Link], AbstractAsyncContextManager[Agency]]
) -> int:
    """Run the connector until SIGTERM or SIGINT; return its exit code. `join` opens and closes the agency's own things."""
    raise NotImplementedError


def status_of(link: Link) -> dict[str, Any]:
    """Return what /readyz shows: counts and states, no personal data."""
    raise NotImplementedError
