"""Base64url in its one canonical spelling (RFC 4648 section 5, unpadded, unused bits zero)."""

from binascii import Error, a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def encode(raw: bytes) -> str:
    """Spell bytes in base64url, without padding."""
    return b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def decode(text: bytes) -> bytes | None:
    """Read base64url; None unless `text` is the canonical spelling of some bytes.

    A second spelling of the same bytes (padding, the other alphabet, stray characters, non-zero unused bits) would
    let one signature appear in two forms, so the result is spelled again and compared.
    """
    try:
        raw = a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4))
    except Error:
        return None
    return raw if b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=") == text else None
