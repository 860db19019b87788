"""The offices that one connector serves, each with its kanim codes and its door: pushed to, a folder, or asking itself.

OFFICES_FILE, for example:

    {"offices": [
        {"name": "jakarta", "kanim": ["KNM-JKT", "KNM-JKS"], "door": "push", "url": "https://visa.jakarta.example"},
        {"name": "denpasar", "kanim": ["KNM-DPS"], "door": "folder", "folder": "/srv/tka/denpasar"},
        {"name": "directorate", "kanim": ["*"], "door": "pull"}]}

`*` stands for every code that no other office has. What no office is in charge of waits, and is shown as unrouted.
"""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from connectors.link.fault import SettingsFault

ANY = "*"
#: The office of a connector without OFFICES_FILE: one visa system for all of Immigration.
SOLE = "default"
#: Where a recommendation waits that no office is in charge of. No office can have this name.
UNROUTED = ""
OFFICES_MAX = 500

KanimCode = Annotated[str, StringConstraints(pattern=r"^(\*|[A-Za-z0-9._-]{1,32})$")]


class Office(BaseModel):
    """One office: the codes it is in charge of, and how it is reached."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    kanim: tuple[KanimCode, ...] = Field(min_length=1)
    door: Literal["push", "folder", "pull"]
    url: str | None = Field(default=None, pattern=r"^https?://[^/]")
    token_file: Path | None = None
    folder: Path | None = None

    @model_validator(mode="after")
    def _check_door(self) -> Self:
        if (self.url is not None) != (self.door == "push"):
            raise ValueError("a push door has a url, and no other door has one")
        if (self.folder is not None) != (self.door == "folder"):
            raise ValueError("a folder door has a folder, and no other door has one")
        if self.token_file is not None and self.door == "folder":
            raise ValueError("a folder has no token_file")
        return self


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    offices: tuple[Office, ...] = Field(min_length=1, max_length=OFFICES_MAX)

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        for what, found in (
            ("name", Counter(office.name for office in self.offices)),
            ("kanim", Counter(code for office in self.offices for code in office.kanim)),
            ("folder", Counter(office.folder for office in self.offices if office.folder is not None)),
        ):
            if any(count > 1 for count in found.values()):
                raise ValueError(f"two offices share a {what}")
        return self


class Offices:
    """Who is in charge of what."""

    def __init__(self, offices: tuple[Office, ...]) -> None:
        self.all = offices
        self._by_code = {code: office for office in offices for code in office.kanim}

    def named(self, name: str) -> Office | None:
        """Return the office of that name."""
        return next((office for office in self.all if office.name == name), None)

    def in_charge(self, kanim: str) -> str:
        """Return the name of the office in charge of a code; UNROUTED where nobody is."""
        office = self._by_code.get(kanim) or self._by_code.get(ANY)
        return UNROUTED if office is None else office.name


def read_offices(file: Path | None, visa_system_url: str | None) -> Offices:
    """Return the offices of OFFICES_FILE, or the sole one of VISA_SYSTEM_URL. Raises SettingsFault."""
    if (file is None) == (visa_system_url is None):
        raise SettingsFault("Set either VISA_SYSTEM_URL, for one visa system, or OFFICES_FILE, for several offices.")
    if file is None:
        return Offices((Office(name=SOLE, kanim=(ANY,), door="push", url=visa_system_url),))
    try:
        return Offices(_Document.model_validate_json(file.read_bytes()).offices)
    except OSError as error:
        raise SettingsFault(f"OFFICES_FILE cannot be read ({error.strerror}): name a file that can.") from None
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {_say(fault['msg'])}"
                           for fault in error.errors()[:5])  # fmt: skip
        raise SettingsFault(f"OFFICES_FILE cannot be used: {faults}.") from None


def _say(message: str) -> str:
    return re.sub(r"^Value error, ", "", message)
