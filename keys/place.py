"""Where a private key is: a file, or a key in a token. The setting is the same, and so is what it gives."""

from functools import cache
from pathlib import Path

from contracts.wire.key import Signer
from keys.files import read_key
from keys.token import TokenKey
from keys.uri import SCHEME, read_uri


def is_token(place: Path) -> bool:
    """Whether a setting names a key in a token. Settings are paths: no file of ours begins like a URI."""
    return str(place).startswith(SCHEME)


def open_key(place: Path) -> Signer:
    """Return what signs with the key that a setting names. Raises KeyFault."""
    return _open_token(str(place)) if is_token(place) else read_key(place)


@cache
def _open_token(text: str) -> TokenKey:
    """Open a key in a token once in a process: each time would be another session, of which a token has few."""
    return TokenKey(read_uri(text))
