"""What `check` looks at besides the link: each way in, the way out, and the clocks; in plain words, with the fix."""

from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx

from connectors.link.check import Finding
from connectors.link.clock import Clock, utc_now
from connectors.link.fault import SettingsFault, SourceFault, SourceUnreachable
from connectors.link.problem import read_tokens
from connectors.ministry.events_file import MANIFEST_SUFFIX
from connectors.ministry.events_folder import check_folder
from connectors.ministry.mapping import Mapping
from connectors.ministry.register import Register, open_register
from connectors.ministry.settings import MinistrySettings
from connectors.ministry.webhook import read_signers

#: The hub takes messages of up to 300 s in its future; a clock this far off needs looking after before that.
CLOCK_OFFSET_S_MAX = 30.0
TIMEOUT_S = 10.0


async def check_ministry(settings: MinistrySettings) -> AsyncIterator[Finding]:
    """Look at everything that is the ministry's own."""
    try:
        settings.check_ways()
        mapping = settings.read_mapping()
    except SettingsFault as fault:
        yield Finding("settings", "settings", str(fault))
        return
    yield await _check_hub_clock(settings)
    if settings.register_url is not None:
        async for finding in _check_register(settings.register_url, mapping, to_write=settings.webhook_url is None):
            yield finding
    for finding in _check_doors(settings):
        yield finding
    if settings.webhook_url is not None:
        yield await _check_webhook(settings, settings.webhook_url)


async def _check_register(url: str, mapping: Mapping, *, to_write: bool) -> AsyncIterator[Finding]:
    try:
        async with open_register(url, mapping) as register:
            found = await _check_rights(register, mapping, to_write=to_write)
            if found.verdict == "ok":
                # That a row can be read as the mapping says shows only when one is.
                await register.order.read(None, 1)
            yield found
            yield _compare_clocks("register's clock", await register.tables.now_s(), utc_now)
    except SourceUnreachable as fault:
        yield Finding("register", "unreachable", str(fault))
    except SourceFault as fault:
        yield Finding("register", "wrong", str(fault))
    except SettingsFault as fault:
        yield Finding("register", "settings", str(fault))


async def _check_rights(register: Register, mapping: Mapping, *, to_write: bool) -> Finding:
    rights = await register.tables.rights()
    outbox, outcome = mapping.outbox.table, mapping.outcome.table
    if not rights.reads or (to_write and not rights.writes):
        says = f"The connector's role lacks a right: grant SELECT on {outbox}, SELECT and INSERT on {outcome}."
        return Finding("register", "wrong", says)
    if rights.changes:
        says = f"The connector's role may change {outbox}: revoke its rights to INSERT, UPDATE and DELETE."
        return Finding("register", "wrong", says)
    if not rights.transactional:
        says = f"{outbox} and {outcome} must be InnoDB tables: ALTER TABLE ... ENGINE = InnoDB."
        return Finding("register", "wrong", says)
    if rights.sees_transactions is False:
        says = (
            "The register answers, but its running transactions cannot be seen, so a number that is missing in the"
            f" outbox is looked for during {mapping.outbox.blind_wait_s} s: GRANT PROCESS ON *.* to the role, on a"
            " server that is neither a replica nor one of several primaries."
        )
        return Finding("register", "ok", says)
    says = "The register answers; the role may read its outbox" + (" and write outcomes." if to_write else ".")
    return Finding("register", "ok", says)


def _check_doors(settings: MinistrySettings) -> list[Finding]:
    findings: list[Finding] = []
    if settings.events_token_file is not None:
        try:
            read_tokens(settings.events_token_file, "EVENTS_TOKEN_FILE")
            says = "POST /events is open for who shows the token."
            findings.append(Finding("events door", "ok", says))
        except SettingsFault as fault:
            findings.append(Finding("events door", "settings", str(fault)))
    if settings.events_dir is not None:
        try:
            check_folder(settings.events_dir)
            findings.append(_check_lone_files(settings))
        except SettingsFault as fault:
            findings.append(Finding("events folder", "settings", str(fault)))
    return findings


def _check_lone_files(settings: MinistrySettings) -> Finding:
    """Look for files that wait for a manifest, and manifests that wait for a file."""
    names = {entry.name for entry in (settings.events_dir or settings.spool_dir).iterdir() if entry.is_file()}
    names = {name for name in names if not name.startswith(".") and not name.endswith(".part")}
    manifests = {name for name in names if name.endswith(MANIFEST_SUFFIX)}
    lone = {name for name in names - manifests if name + MANIFEST_SUFFIX not in manifests}
    lone |= {name for name in manifests if name.removesuffix(MANIFEST_SUFFIX) not in names}
    if lone:
        says = f"{len(lone)} files wait in EVENTS_DIR for their other half, a file or its {MANIFEST_SUFFIX}."
        return Finding("events folder", "wrong", says)
    return Finding("events folder", "ok", "Files can be taken from the folder.")


async def _check_webhook(settings: MinistrySettings, url: str) -> Finding:
    """Look at the secret, and whether somebody listens; nothing is sent that a receiver could take for an outcome."""
    if settings.webhook_secret_file is None:
        return Finding("webhook", "settings", "WEBHOOK_SECRET_FILE is missing.")
    try:
        read_signers(settings.webhook_secret_file)
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            await http.request("OPTIONS", url)
    except SettingsFault as fault:
        return Finding("webhook", "settings", str(fault))
    except httpx.HTTPError as error:
        says = f"The webhook's receiver does not answer ({type(error).__name__}): check WEBHOOK_URL."
        return Finding("webhook", "unreachable", says)
    return Finding("webhook", "ok", "The secret can be used, and the webhook's receiver answers.")


async def _check_hub_clock(settings: MinistrySettings) -> Finding:
    """Compare this machine's clock with the Date of the hub's answer, which has whole seconds."""
    try:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            answer = await http.get(f"{settings.hub_api_url.rstrip('/')}/api/v1/registry")
        told = parsedate_to_datetime(answer.headers["date"])
    except (httpx.HTTPError, KeyError, ValueError) as error:
        says = f"The hub does not tell its time ({type(error).__name__}): check HUB_API_URL."
        return Finding("clock", "unreachable", says)
    return _compare_clocks("clock", told.timestamp(), utc_now)


def _compare_clocks(title: str, other_s: float, clock: Clock) -> Finding:
    offset_s = clock().timestamp() - other_s
    if abs(offset_s) > CLOCK_OFFSET_S_MAX:
        side = "ahead of" if offset_s > 0 else "behind"
        whose = "the hub's" if title == "clock" else "the register's"
        says = f"This machine's clock is {abs(offset_s):.0f} s {side} {whose}: set it by NTP."
        return Finding(title, "wrong", says)
    return Finding(title, "ok", f"The clocks agree within {CLOCK_OFFSET_S_MAX:.0f} s.")
