"""The URI of a key in a token is read strictly, and what is wrong with one is told without repeating it."""

from pathlib import Path

import pytest

from keys.fault import KeyFault, KeyTrouble
from keys.place import is_token
from keys.uri import TokenUri, read_uri

HOW = "?module-path=/lib/softhsm.so&pin-source=file:/run/pin"


def test_a_whole_one_is_read() -> None:
    found = read_uri(f"pkcs11:token=My%20token;object=hub;id=%01%ff{HOW}")
    assert found == TokenUri("My token", None, "hub", b"\x01\xff", Path("/lib/softhsm.so"), Path("/run/pin"))


def test_it_stays_itself_as_a_path() -> None:
    place = Path(f"pkcs11:token=a;object=b{HOW.replace('file:/', 'file:///')}")
    assert is_token(place)
    assert read_uri(str(place)) == read_uri(f"pkcs11:token=a;object=b{HOW}")


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:",
        "pkcs11:token=a;object=b",
        f"pkcs11:object=b{HOW}",
        f"pkcs11:token=a{HOW}",
        f"pkcs11:token=a;object=b;object=c{HOW}",
        f"pkcs11:token=a;object={HOW}",
        f"pkcs11:token=a;object=b;type=private{HOW}",
        f"pkcs11:token=%ff;object=b{HOW}",
        "pkcs11:token=a;object=b?module-path=/lib/softhsm.so",
        "pkcs11:token=a;object=b?module-path=/lib/softhsm.so&pin-source=pin",
        "pkcs11:token=a;object=b?module-path=/lib/softhsm.so&pin-value=SECRET",
        f"pkcs11:token=a;object=b{HOW}&pin-value=SECRET",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(KeyFault) as caught:
        read_uri(text)
    assert caught.value.trouble is KeyTrouble.URI_INVALID
    assert "SECRET" not in str(caught.value)
