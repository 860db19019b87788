"""Who may look at the kept exchange: an account for each role that has a page, and one applicant's receipt."""

import asyncio
import secrets
from collections.abc import Mapping

from devstack.agencies.scenario import Application, give_secret
from devstack.demonstration.keys import PRIVATE_MODE
from devstack.demonstration.stage import Stage

PASSWORD_BYTES = 12
#: The pages' roles by the names that sign in, with what each is narrowed to.
VISITORS: Mapping[str, tuple[str, ...]] = {
    "operator": ("--role", "operator"),
    "bank": ("--role", "bank", "--participant", "bri"),
    "immigration": ("--role", "immigration"),
    "oversight": ("--role", "oversight"),
    "officer": ("--role", "officer", "--unit", "unit_00000000"),
    "minister": ("--role", "minister"),
}


async def open_doors(stage: Stage, application: Application) -> str:
    """Make the accounts; return, and keep in a private file, where the pages are and how to get in."""
    passwords = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in VISITORS}
    await asyncio.gather(
        *(
            stage.run_hub("accounts", "add", name, *options, line=passwords[name])
            for name, options in VISITORS.items()
        )
    )  # fmt: skip
    url = stage.cast.url("hub-api")
    lines = [
        f"The pages: {url}/ (the hall's monitor: {url}/board)",
        f"An applicant: {url}/status with {application.number} and the secret {give_secret(application.number)}",
        f"Staff: {url}/sign-in",
        *(f"  {name:<12} {password}" for name, password in passwords.items()),
    ]
    text = "\n".join(lines)
    file = stage.cast.folder / "sign-in.txt"
    file.touch(PRIVATE_MODE)
    file.write_text(f"{text}\n")
    return text
