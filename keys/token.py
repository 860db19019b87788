"""A private key in a PKCS#11 token (an HSM, a smart card, SoftHSM), which signs and never leaves it.

Needs the package python-pkcs11 (the extra `pkcs11`); who keeps keys in files needs nothing.
"""

import hashlib
from typing import Any

from contracts.errors import Refusal
from contracts.wire import base64url
from contracts.wire.key import COORDINATE_BYTES, ED25519, PublicKey
from keys.fault import KeyFault, KeyTrouble
from keys.files import read_secret
from keys.uri import TokenUri

# Signed when the key is opened, so that a token that cannot do it says so then. It is no message of the protocol.
TRIAL = b"tka-exchange/token-key-trial/1"
OCTET_STRING, BIT_STRING = 0x04, 0x03
POINT_BYTES = 1 + 2 * COORDINATE_BYTES


class TokenKey:
    """A key that signs in its token; `public` is its other half, read from there and tried."""

    def __init__(self, uri: TokenUri) -> None:
        """Log in and find the key. Raises KeyFault."""
        self._uri = uri
        self._key = self._open()
        self.public = self._read_public()
        self.alg, self.kid = self.public.alg, self.public.kid
        if not self.public.verify(self.sign(TRIAL), TRIAL):
            says = "names a private and a public key in the token that do not belong together"
            raise KeyFault(KeyTrouble.UNFIT, says)

    def sign(self, message: bytes) -> bytes:
        """Sign: 64 bytes, for ES256 other ones each time. A session that was lost is opened anew, once.

        Raises KeyFault(pkcs11_token_fails) if the token does not sign.
        """
        import pkcs11

        try:
            return self._sign(message)
        except pkcs11.PKCS11Error:
            self._key = self._open()
        try:
            return self._sign(message)
        except pkcs11.PKCS11Error as error:
            says = f"is in a token that does not sign with it ({type(error).__name__})"
            raise KeyFault(KeyTrouble.TOKEN_FAILS, says) from None

    def _sign(self, message: bytes) -> bytes:
        from pkcs11 import Mechanism

        if self.alg == ED25519:
            return bytes(self._key.sign(message, mechanism=Mechanism.EDDSA))
        return bytes(self._key.sign(hashlib.sha256(message).digest(), mechanism=Mechanism.ECDSA))

    def _open(self) -> Any:
        """Log in to the token and find the private key. Raises KeyFault."""
        try:
            import pkcs11
        except ImportError:
            says = "names a key in a token, for which the package python-pkcs11 is needed (the extra `pkcs11`)"
            raise KeyFault(KeyTrouble.NOT_INSTALLED, says) from None
        pin = read_pin(self._uri)
        try:
            module = pkcs11.lib(str(self._uri.module))
        except (pkcs11.PKCS11Error, RuntimeError, OSError):
            says = "names a module-path that is no PKCS#11 module"
            raise KeyFault(KeyTrouble.MODULE_UNUSABLE, says) from None
        try:
            serial = None if self._uri.serial is None else self._uri.serial.encode()
            token = module.get_token(token_label=self._uri.token, token_serial=serial)
            try:
                session = token.open(user_pin=pin)
            except pkcs11.UserAlreadyLoggedIn:
                # For another key of this process; a login is the token's and holds for all of its sessions.
                session = token.open()
            return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=self._uri.label, id=self._uri.id)
        except pkcs11.PKCS11Error as error:
            raise _explain(error) from None

    def _read_public(self) -> PublicKey:
        """Return the public half, which lies beside the private one. Raises KeyFault."""
        import pkcs11

        kind = self._key.key_type
        try:
            half: Any = self._key.session.get_key(
                object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=self._uri.label, id=self._uri.id
            )
            point = bytes(half[pkcs11.Attribute.EC_POINT])
        except pkcs11.PKCS11Error:
            says = "names a key whose public half is not in the token beside it"
            raise KeyFault(KeyTrouble.KEY_ABSENT, says) from None
        try:
            return PublicKey.from_jwk(_write_jwk(point, edwards=kind is pkcs11.KeyType.EC_EDWARDS))
        except Refusal:
            says = "names a key that is neither Ed25519 nor P-256"
            raise KeyFault(KeyTrouble.UNFIT, says) from None


def read_pin(uri: TokenUri) -> str:
    """Return the PIN, of a file that only its owner may read. Raises KeyFault."""
    try:
        return read_secret(uri.pin_file).decode().strip()
    except UnicodeDecodeError:
        raise KeyFault(KeyTrouble.UNFIT, "has a PIN file that is no text") from None
    except KeyFault as fault:
        raise KeyFault(fault.trouble, f"has a PIN file that {fault.says}") from None


def _explain(error: Exception) -> KeyFault:
    import pkcs11

    if isinstance(error, (pkcs11.NoSuchToken, pkcs11.MultipleTokensReturned)):
        return KeyFault(KeyTrouble.TOKEN_ABSENT, "names a token that is not there, or not only once")
    if isinstance(error, (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned)):
        return KeyFault(KeyTrouble.KEY_ABSENT, "names a private key that is not in the token, or not only once")
    if isinstance(error, (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked)):
        says = "has a PIN file with a PIN that the token refuses; after a few more tries it may lock itself"
        return KeyFault(KeyTrouble.PIN_WRONG, says)
    return KeyFault(KeyTrouble.TOKEN_FAILS, f"is in a token that does not answer ({type(error).__name__})")


def _write_jwk(point: bytes, *, edwards: bool) -> dict[str, str]:
    """Spell a CKA_EC_POINT as a JWK: tokens wrap it as an octet string, as a bit string, or not at all."""
    width = COORDINATE_BYTES if edwards else POINT_BYTES
    wrapped = {bytes([OCTET_STRING, width]), bytes([BIT_STRING, width + 1, 0])}
    raw = point[-width:] if point[:-width] in wrapped | {b""} else b""
    if edwards:
        return {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(raw)}
    x, y = raw[1 : 1 + COORDINATE_BYTES], raw[1 + COORDINATE_BYTES :]
    return {"kty": "EC", "crv": "P-256", "x": base64url.encode(x), "y": base64url.encode(y)}
