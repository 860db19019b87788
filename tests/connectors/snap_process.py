"""A process with a SNAP door on a spool, as a supervisor starts it: `python -m tests.connectors.snap_process FOLDER`.

It says `locked` for as long as another process holds the spool, and once it has it, the address of its door.
"""

import asyncio
import fcntl
import socket
import sys
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry

from connectors.bank.book import BankBook
from connectors.bank.notifications import Behind, NotificationDoor
from connectors.bank.payments import Payments
from connectors.bank.profile import read_partners
from connectors.bank.snap_listener import SnapProtocol
from connectors.bank.snap_token import Tokens
from connectors.link.clock import utc_now
from connectors.link.door import open_door
from connectors.link.fact import Author
from connectors.link.fault import SpoolLocked
from connectors.link.spool import Spool
from contracts.wire.key import PrivateKey


def wait_until_free(lock: Path) -> None:
    """Return once nobody holds the lock: the process that held it has ended."""
    with lock.open("a") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_EX)


async def stand_by(folder: Path) -> None:
    """Try for the spool until it is free, as a supervisor that restarts the connector does; then serve."""
    author = Author("bri", "https://bri.example/tka", "demo")
    told = False
    while True:
        try:
            async with Spool.open(folder / "spool.sqlite", author) as spool:
                await serve(folder, spool)
        except SpoolLocked:
            if not told:
                print("locked", flush=True)
                told = True
            await asyncio.to_thread(wait_until_free, folder / "spool.sqlite.lock")


async def serve(folder: Path, spool: Spool) -> None:
    partners = read_partners(folder / "profile.json")
    book = BankBook(spool, partners, "https://bri.example/tka", utc_now)
    payments = Payments(spool, book, utc_now)
    tokens = Tokens.of(PrivateKey.from_pem((folder / "connector.pem").read_bytes()))
    door = NotificationDoor(Behind(partners, tokens, payments, book, utc_now), CollectorRegistry())
    app = open_door()
    app.include_router(door.routes())
    app.include_router(book.routes())
    listening = socket.create_server(("127.0.0.1", 0))
    # As the service's own door, and for its reason: asyncio does not see to it for this kind of socket.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Whoever calls from now on is heard as soon as the server runs.
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, http=SnapProtocol, log_config=None, lifespan="off")
    await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(stand_by(Path(sys.argv[1])))
