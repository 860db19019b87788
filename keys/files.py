"""Files that hold a secret: read only if nobody but the user of this process may read or change them."""

import os
import stat
from pathlib import Path

from contracts.errors import Refusal
from contracts.wire.key import PrivateKey
from keys.fault import KeyFault, KeyTrouble

OTHERS_MAY = 0o077
SECRET_BYTES_MAX = 65_536


def read_secret(file: Path) -> bytes:
    """Return a file's bytes. Raises KeyFault unless its mode is 0600 or 0400 and its owner the user of this process.

    What is checked is the opened file, so that nobody can put another one in its place in between.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise KeyFault(KeyTrouble.FILE_UNREADABLE, "cannot be read: it is no file")
            if found.st_mode & OTHERS_MAY:
                says = "can be read by others: set its mode to 0600 (`chmod 600`)"
                raise KeyFault(KeyTrouble.FILE_OPEN_TO_OTHERS, says)
            if found.st_uid != os.geteuid():
                says = "belongs to another user, who could change it: `chown` it to the user of this process"
                raise KeyFault(KeyTrouble.FILE_OF_ANOTHER, says)
            return opened.read(SECRET_BYTES_MAX)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise KeyFault(KeyTrouble.FILE_UNREADABLE, f"cannot be read: {reason}") from None


def read_key(file: Path) -> PrivateKey:
    """Return the private key of a PEM file. Raises KeyFault."""
    try:
        return PrivateKey.from_pem(read_secret(file))
    except Refusal:
        says = "does not hold the key that is expected there: a PKCS#8 PEM of an Ed25519 or P-256 key"
        raise KeyFault(KeyTrouble.UNFIT, says) from None
