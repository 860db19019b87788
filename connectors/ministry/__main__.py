"""The ministry's connector: `python -m connectors.ministry run|check`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import Field

from connectors.link.check import Finding
from connectors.link.command import make_command
from connectors.link.fault import SourceFault, SourceUnreachable
from connectors.link.service import Agency, Join, Link
from connectors.link.settings import ConnectorSettings
from connectors.ministry.exchange import Exchange
from connectors.ministry.outbox import open_register


class MinistrySettings(ConnectorSettings):
    """The settings of every connector, and where the permit register is."""

    register_url: str = Field(
        pattern=r"^postgres(ql)?://",
        description="The permit register's database, under a role that may read the outbox and write outcomes only.",
    )


def join_register(settings: MinistrySettings) -> Join:
    """Return what joins the register to the link."""

    @asynccontextmanager
    async def join(link: Link) -> AsyncIterator[Agency]:
        async with open_register(settings.register_url) as register:
            exchange = Exchange(register, link.spool)
            yield Agency(handle=exchange.handle, tasks={"register": exchange.read_for_ever})

    return join


async def check_register(settings: MinistrySettings) -> AsyncIterator[Finding]:
    """Look whether the register answers and gives the connector's role what it needs, and no more."""
    try:
        async with open_register(settings.register_url) as register:
            rights = await register.rights()
    except SourceUnreachable as fault:
        yield Finding("register", "unreachable", str(fault))
        return
    except SourceFault as fault:
        yield Finding("register", "wrong", str(fault))
        return
    if not (rights["reads"] and rights["writes"]):
        says = "The connector's role lacks a right: grant SELECT on register.outbox, SELECT and INSERT on outcome."
        yield Finding("register", "wrong", says)
    elif rights["more"]:
        says = "The connector's role may change register.outbox: revoke INSERT, UPDATE and DELETE from it."
        yield Finding("register", "wrong", says)
    else:
        yield Finding("register", "ok", "The register answers; the role may read its outbox and write outcomes.")


app = make_command("the ministry", MinistrySettings.read, join_register, check_register)

if __name__ == "__main__":
    app()
