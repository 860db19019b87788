"""The URI that names a key in a token (RFC 7512), as far as it is used here: read strictly. Pure."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from keys.fault import KeyFault, KeyTrouble

SCHEME = "pkcs11:"
WHERE = ("token", "serial", "object", "id")
HOW = ("module-path", "pin-source")


class TokenUri(NamedTuple):
    """Which key of which token, the module that speaks with it, and the file that holds the PIN."""

    token: str | None
    serial: str | None
    label: str | None
    id: bytes | None
    module: Path
    pin_file: Path


def _invalid(says: str) -> KeyFault:
    return KeyFault(KeyTrouble.URI_INVALID, f"is no usable PKCS#11 URI: {says}")


def read_uri(text: str) -> TokenUri:
    """Read `pkcs11:token=...;object=...?module-path=...&pin-source=...`. Raises KeyFault, never repeating the text."""
    path, _, query = text.removeprefix(SCHEME).partition("?")
    where = _read_attributes(path, ";", WHERE)
    # Whoever can list processes or read settings would have it.
    if "pin-value=" in query:
        raise _invalid("the PIN must stand in a file that pin-source names, never in the URI")
    how = _read_attributes(query, "&", HOW)
    if not where.keys() & {"token", "serial"} or not where.keys() & {"object", "id"}:
        raise _invalid("it must name the token (token or serial) and the key (object or id)")
    if how.keys() != set(HOW):
        raise _invalid("it must name module-path and pin-source behind the question mark")
    pin_source = how["pin-source"].decode().removeprefix("file:")
    if not pin_source.startswith("/"):
        raise _invalid("pin-source must be the whole path of a file")
    texts = {name: value.decode() for name, value in where.items() if name != "id"}
    return TokenUri(
        texts.get("token"),
        texts.get("serial"),
        texts.get("object"),
        where.get("id"),
        Path(how["module-path"].decode()),
        Path(pin_source),
    )


def _read_attributes(text: str, separator: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for pair in filter(None, text.split(separator)):
        name, mark, value = pair.partition("=")
        if not mark or name not in known or name in found or not value:
            raise _invalid(f"it may have each of {', '.join(known)} once there, and nothing else")
        found[name] = unquote_to_bytes(value)
        if name != "id":
            try:
                found[name].decode()
            except UnicodeDecodeError:
                raise _invalid(f"{name} is not UTF-8") from None
    return found
