"""What `check` looks at besides the link: profile, certificates, bank codes, folders; in plain words, with the fix."""

from collections.abc import AsyncIterator, Iterator

import httpx

from connectors.bank.profile import Partner, Partners, read_partners
from connectors.bank.settings import BankSettings
from connectors.bank.snap_listener import tls_context
from connectors.bank.statements import check_folder, folders_of
from connectors.link.check import Finding, find_registry
from connectors.link.fault import HubUnreachable, SettingsFault, TrustFault
from connectors.link.hub_client import HubClient
from connectors.link.problem import read_tokens
from connectors.link.trust import read_private_key, read_root
from contracts.registry import Registry


async def check_bank(settings: BankSettings) -> AsyncIterator[Finding]:
    """Look at the bank's profile, at the codes in it, at its folder and at the door for explanations."""
    try:
        partners = read_partners(settings.snap_profile_file)
        for partner in partners.all:
            if partner.profile.listener is not None:
                tls_context(partner.profile.listener)
    except SettingsFault as fault:
        yield Finding("SNAP profile", "settings", str(fault))
        return
    for partner in partners.all:
        name, bank = partner.profile.partner_id, partner.profile.bank_code
        yield Finding("SNAP profile", "ok", f"The profile of {name} (bank {bank}) and its keys can be used.")
    registry = await _find_registry(settings)
    if registry is not None:
        for finding in check_codes(partners, registry, settings.participant):
            yield finding
    for finding in _check_ways(settings, partners):
        yield finding


def _check_ways(settings: BankSettings, partners: Partners) -> Iterator[Finding]:
    for folder, _ in folders_of(settings.statement_dir, partners):
        try:
            check_folder(folder)
            yield Finding("statement folder", "ok", "Files can be taken from the statement folder.")
        except SettingsFault as fault:
            yield Finding("statement folder", "settings", str(fault))
    if settings.explanation_token_file is None:
        says = "EXPLANATION_TOKEN_FILE is not set: this bank cannot explain a difference through its connector."
        yield Finding("explanations", "ok", says)
        return
    try:
        read_tokens(settings.explanation_token_file, "EXPLANATION_TOKEN_FILE")
        yield Finding("explanations", "ok", "Differences can be explained by who shows the token.")
    except SettingsFault as fault:
        yield Finding("explanations", "settings", str(fault))


async def _find_registry(settings: BankSettings) -> Registry | None:
    """Return the registry; None without one, which the link's own findings have told already."""
    try:
        root = read_root(settings.trust_root_file)
        api_key = read_private_key(settings.api_key_file, "API_KEY_FILE")
        async with httpx.AsyncClient() as http:
            hub = HubClient(http, settings.hub_api_url, settings.participant, api_key)
            return await find_registry(settings, root, hub)
    except (SettingsFault, HubUnreachable, TrustFault):
        return None


def check_codes(partners: Partners, registry: Registry, participant_id: str) -> list[Finding]:
    """Compare the profiles' bank codes with what the registry lets this participant report money for.

    Empty when the registry does not know the participant, which the link's own findings tell.
    """
    participant = registry.participant(participant_id)
    if participant is None:
        return []
    owned, findings = participant.bank_code, []
    others = {other.bank_code: other.id for other in registry.participants.values() if other.id != participant_id}
    for partner in partners.all:
        code = partner.profile.bank_code
        if owned is not None and code != owned:
            says = (
                f"{_name(partner)} names bank {code}, and the registry has {participant_id} as bank {owned}: the hub"
                f" would refuse its payments (bank_not_owned). Write {owned} into the profile, or have the operator"
                " correct the registry."
            )
            findings.append(Finding("bank code", "wrong", says))
        elif owned is None and code in others:
            says = (
                f"{_name(partner)} names bank {code}, which is the participant {others[code]} itself: the hub would"
                f" refuse its payments (bank_not_owned). Take bank {code} out of the profile: it reports by its own"
                " connector."
            )
            findings.append(Finding("bank code", "wrong", says))
    return findings or [Finding("bank code", "ok", "The registry lets this participant report for these banks.")]


def _name(partner: Partner) -> str:
    return f"The profile of {partner.profile.partner_id}"
