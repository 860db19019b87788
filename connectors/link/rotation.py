"""`rotate-key`: from one key to the next without a message that waits or is refused.

first run     makes KEY_FILE.next and prints its public half, for the operator to register beside the old one
meanwhile     says the same again; the running connector uses the next key as soon as the registry has it in force
last run      makes the next key the key; the operator may let the old one end
"""

import json
from datetime import datetime
from typing import Any

import httpx

from connectors.link.fault import HubUnreachable, SettingsFault
from connectors.link.hub_client import HubClient
from connectors.link.key_ring import SETTINGS, Use, is_in_force, make_next, next_file, promote
from connectors.link.settings import ConnectorSettings
from connectors.link.trust import Trust, read_private_key, read_root
from contracts.registry import Registry
from keys.place import is_token


async def rotate_key(settings: ConnectorSettings, use: Use, now: datetime) -> dict[str, Any]:
    """Take the next step of a rotation; return what to tell. Raises LinkFault, Refusal, OSError."""
    file = settings.key_file if use == "message" else settings.api_key_file
    if is_token(file):
        raise SettingsFault(
            f"{SETTINGS[use]} is in a token, where no program makes keys by itself: make the next one there, have it"
            " registered beside this one, then name it in the setting and start the connector again."
        )
    old = read_private_key(file, SETTINGS[use])
    if next_file(file).exists():
        following = read_private_key(next_file(file), f"{SETTINGS[use]}.next")
        registry = await _read_registry(settings)
        if registry is not None and is_in_force(registry, following, use, settings.participant, now):
            promote(file)
            return {
                "step": "finished",
                "kid": following.kid,
                "previous_kid": old.kid,
                "says": f"The next key is the key now. The operator may let {old.kid} end when nothing under it is on"
                " its way: when the spool has no message without a receipt.",
            }
    following = make_next(file)
    return {
        "step": "waiting for the registry",
        "kid": following.kid,
        "previous_kid": old.kid,
        "key": {"kid": following.kid, "alg": following.alg, "use": use, "jwk": following.public.jwk},
        "says": "Send `key` to the operator of the exchange, to be registered beside the old one. The connector uses it"
        " from when it is in force, without a restart; run this again then.",
    }


async def _read_registry(settings: ConnectorSettings) -> Registry | None:
    """Return the newest registry: the hub's, else the one that is kept here."""
    root = read_root(settings.trust_root_file)
    async with httpx.AsyncClient() as http:
        api_key = read_private_key(settings.api_key_file, SETTINGS["api"])
        hub = HubClient(http, settings.hub_api_url, settings.participant, api_key)
        try:
            return Registry.read(await hub.registry(), root)
        except HubUnreachable:
            trust = Trust(settings.registry_file, root, hub.registry)
            return trust.registry if trust.known else None


def write_step(step: dict[str, Any], as_json: bool) -> str:
    """Return what the command prints."""
    if as_json:
        return json.dumps(step)
    key = f"\n{json.dumps(step['key'])}" if "key" in step else ""
    return f"{step['step']}: {step['kid']}\n{step['says']}{key}"
