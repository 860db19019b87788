"""Where a log is read from: its address, or a folder that it was published to. Nothing that comes is believed here."""

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from contracts.log.note import NOTE_BYTES_MAX
from contracts.log.tile import ENTRIES, WIDTH, Tile, read_bundle

TIMEOUT_S = 30.0
# 256 entries of at most 65,535 bytes behind two bytes each.
BUNDLE_BYTES_MAX = WIDTH * 65_537
SCHEMES = ("http://", "https://")


class Unreachable(Exception):
    """The log cannot be read just now; the message says in one sentence why."""


class LogSource:
    """A log at an address (http, https) or in a folder, both as C2SP tlog-tiles lays it out."""

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")

    def read_checkpoint(self) -> bytes:
        """Return the newest checkpoint as it is served. Raises Unreachable."""
        found = self._read("checkpoint", NOTE_BYTES_MAX)
        if found is None:
            raise Unreachable(f"{self.place} has no checkpoint.")
        return found

    def read_bundle(self, index: int, size: int) -> list[bytes]:
        """Return the entries of a bundle that a log of `size` has. Raises Unreachable, Unproven(tile_malformed)."""
        width = min(WIDTH, size - index * WIDTH)
        partial = Tile(ENTRIES, index, width)
        found = self._read(partial.path, BUNDLE_BYTES_MAX)
        if found is not None:
            return read_bundle(partial, found)
        # A log may drop a bundle that was not whole once the whole one is there.
        whole = Tile(ENTRIES, index)
        found = self._read(whole.path, BUNDLE_BYTES_MAX)
        if found is None:
            raise Unreachable(f"{self.place} has no {partial.path}.")
        return read_bundle(whole, found)[:width]

    def _read(self, path: str, bytes_max: int) -> bytes | None:
        if not self.place.startswith(SCHEMES):
            return self._read_file(path)
        try:
            # The scheme is one of two.
            with urllib.request.urlopen(f"{self.place}/{path}", timeout=TIMEOUT_S) as answer:  # noqa: S310
                found: bytes = answer.read(bytes_max + 1)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
            raise Unreachable(f"{self.place} answered {error.code}.") from None
        except (OSError, HTTPException) as error:
            raise Unreachable(f"{self.place} cannot be reached ({type(error).__name__}).") from None
        if len(found) > bytes_max:
            raise Unreachable(f"{self.place}/{path} is larger than {bytes_max} bytes.")
        return found

    def _read_file(self, path: str) -> bytes | None:
        try:
            return (Path(self.place) / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unreachable(f"{self.place} cannot be read: {error.strerror}.") from None
