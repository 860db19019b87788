"""`python -m connectors.bank explain`: a person explains a difference at the running connector's own door."""

import ipaddress
import json
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import httpx

from connectors.bank.settings import BankSettings
from connectors.link.check import EXIT_OK, EXIT_UNREACHABLE, EXIT_WRONG
from connectors.link.fault import SettingsFault
from connectors.link.problem import read_tokens

ANSWER_S_MAX: Final = 30.0


def explain_difference(settings: BankSettings, difference_id: str, code: str, text: str) -> tuple[int, str]:
    """Return the exit code and the sentence that say what the connector answered. Raises SettingsFault."""
    if settings.explanation_token_file is None:
        raise SettingsFault("EXPLANATION_TOKEN_FILE is not set: the connector takes no explanation without it.")
    if settings.http_port == 0:
        raise SettingsFault("HTTP_PORT is 0: give the connector's door a port of its own, by which it is found.")
    token = read_tokens(settings.explanation_token_file, "EXPLANATION_TOKEN_FILE")[0]
    headers = {b"Authorization": b"Bearer " + token, b"Content-Type": b"application/json"}
    # In ASCII, since an argument of a command may hold what is no character.
    body = json.dumps({"code": code, "text": text}).encode("ascii")
    address = f"http://{_host_of(settings.http_host)}:{settings.http_port}"
    path = f"/differences/{quote(difference_id, safe=':', errors='replace')}/explanation"
    try:
        # The connector is on this machine or beside it: no proxy of the environment is asked.
        with httpx.Client(timeout=ANSWER_S_MAX, trust_env=False) as http:
            answer = http.post(address + path, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = type(error).__name__
        return EXIT_UNREACHABLE, f"The connector does not answer at {address} ({why}): is it running there?"
    return _read_answer(answer)


def _host_of(host: str) -> str:
    """Return the host to call where a door listens: itself, and this machine where it listens everywhere."""
    try:
        listens_at = ipaddress.ip_address(host)
    except ValueError:
        return host
    if listens_at.is_unspecified:
        return "127.0.0.1" if listens_at.version == 4 else "[::1]"  # The version's own name.
    return host if listens_at.version == 4 else f"[{host}]"


def _read_answer(answer: httpx.Response) -> tuple[int, str]:
    if answer.status_code == HTTPStatus.ACCEPTED:
        return EXIT_OK, "The explanation is on the connector's disk and goes to the hub."
    if answer.status_code == HTTPStatus.OK:
        return EXIT_OK, "This very explanation was given before; nothing was added."
    try:
        said = answer.json()
        detail = str(said["detail"])
    except (ValueError, TypeError, KeyError):
        detail = "The answer is not one of this connector's doors: check HTTP_HOST and HTTP_PORT."
    passes = answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
    return EXIT_UNREACHABLE if passes else EXIT_WRONG, f"{detail} ({answer.status_code})"
