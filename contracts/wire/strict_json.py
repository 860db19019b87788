"""JSON that every reader must understand alike, or not at all.

Two readers that keep different ones of two equal keys would see two events under one signature. So what is ambiguous
is refused: a second key of the same name at any depth and however it is spelled, a byte order mark, bytes that are not
UTF-8, a lone surrogate, NaN and Infinity, and numbers that a double cannot hold exactly (RFC 7493 section 2.2).
"""

from collections.abc import Iterable
from typing import Any

import jiter

from contracts.errors import Code, Refusal

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
INTEGER_MAX = 2**53 - 1
_NUMBERS = (int, float)
_DUPLICATE_KEY = "Detected duplicate key"


def read_object(value: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises Refusal with value_bom, value_not_utf8, json_duplicate_key or json_invalid.
    """
    if value.startswith(BYTE_ORDER_MARK):
        raise Refusal(Code.VALUE_BOM)
    try:
        value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(Code.VALUE_NOT_UTF8, f"at byte {error.start}") from None
    try:
        document = jiter.from_json(value, allow_inf_nan=False, catch_duplicate_keys=True, cache_mode="keys")
    except ValueError as error:
        # The parser's message quotes the document, which may hold personal data: none of it is passed on.
        duplicate = str(error).startswith(_DUPLICATE_KEY)
        raise Refusal(Code.JSON_DUPLICATE_KEY if duplicate else Code.JSON_INVALID) from None
    if type(document) is not dict:
        raise Refusal(Code.JSON_INVALID, "not an object")
    if _holds_huge_number(document.values()):
        raise Refusal(Code.JSON_INVALID, "a number past 2^53 - 1")
    return document


def _holds_huge_number(members: Iterable[Any]) -> bool:
    """Whether any number at any depth is past what a double holds exactly; the parser has bounded the depth."""
    for member in members:
        # Most members are strings, and the parser makes no subclasses.
        kind = type(member)
        if kind is str:
            continue
        if kind is dict:
            if _holds_huge_number(member.values()):
                return True
        elif kind is list:
            if _holds_huge_number(member):
                return True
        elif kind in _NUMBERS and not -INTEGER_MAX <= member <= INTEGER_MAX:
            return True
    return False


def holds_nul(node: object) -> bool:
    """Whether any key or string under `node` holds U+0000, which PostgreSQL cannot store."""
    if isinstance(node, str):
        return "\0" in node
    if isinstance(node, dict):
        return any("\0" in key or holds_nul(member) for key, member in node.items())
    return isinstance(node, list) and any(holds_nul(member) for member in node)
