"""Expected against seen, of what the agencies' own protocols carried: SNAP, camt.054, the office's door, visas."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devstack.agencies.office import KNOWN, UNFIT
from devstack.agencies.scenario import BANKS, HOLDING_BANK
from devstack.demonstration.cast import Cast
from devstack.demonstration.observation import Tables
from devstack.demonstration.spools import count_by_door
from devstack.demonstration.stage import Book, Stage

VERSION = re.compile(r"camt\.054\.001\.(\d\d)")
PAGED = re.compile(r"<(?:NtfctnPgntn|MsgPgntn)>")
HEAD_CHARACTERS = 2_000
COUNTED_BEFORE = "again:"
VISA_KINDS = {
    "acknowledged": "recommendation.acknowledged",
    "queried": "recommendation.queried",
    "visa_approved": "visa.approved",
    "visa_refused": "visa.refused",
    "visa_revoked": "visa.revoked",
    "stay_permit_issued": "stay_permit.issued",
    "entry": "entry.recorded",
    "exit": "exit.recorded",
}
PAYMENT_CALL = ": payment"
# What an inquiry of a bank that takes the money anyway may be told; one that holds it goes on only with the first.
INQUIRY_ANSWERS = ("2002400", "4042412", "4042414", "4042419")
DONE = "done"


def expect_protocols(books: Mapping[str, Book]) -> dict[str, int]:
    """Return what the agencies' books say should be seen."""
    expected: dict[str, int] = {}
    for bank in BANKS:
        expected |= _expect_of_bank(bank, books[bank])
    written = books["ministry"].page("written").values()
    expected["bank calls answered otherwise"] = 0
    expected["ministry: facts by the office's door"] = sum("by_office" in entry for entry in written)
    expected["ministry: facts handed in again"] = len(books["ministry"].page("handed in again"))
    expected["ministry: keys used again, refused"] = len(books["ministry"].page("key used again"))
    expected["ministry: facts turned away at the door"] = 0
    kinds = Counter(entry["kind"] for entry in books["immigration"].page("answers").values())
    return expected | {f"immigration: told {VISA_KINDS[kind]}": kinds[kind] for kind in VISA_KINDS}


def _expect_of_bank(bank: str, book: Book) -> dict[str, int]:
    calls = book.page("calls")
    codes = Counter(entry["wanted"] for entry in calls.values())
    expected = {f"{bank}: answered {code}": count for code, count in sorted(codes.items())}
    told = book.page("told").values()
    expected[f"{bank}: inquiries before payment"] = sum(entry["channel"] == "notification" for entry in told)
    expected[f"{bank}: contradicted payments asked about"] = len(book.page("contradicted"))
    if bank == HOLDING_BANK:
        expected[f"{bank}: tokens renewed"] = 1
        expected[f"{bank}: refusals kept by the connector"] = sum(name.endswith(PAYMENT_CALL) for name in calls)
    files = [entry for entry in book.page("files").values() if "version" in entry]
    versions = Counter(entry["version"] for entry in files)
    expected |= {f"{bank}: statements of .{version}": count for version, count in sorted(versions.items())}
    expected[f"{bank}: statements in pages"] = sum(entry["paged"] for entry in files)
    expected[f"{bank}: entries of a marked copy, not counted again"] = sum(
        entry["entries"] for entry in files if entry["copy"]
    )
    return expected


async def see_protocols(stage: Stage, books: Mapping[str, Book], tables: Tables) -> dict[str, int]:
    """Return what is seen, under the same keys as `expect_protocols`."""
    seen: dict[str, int] = {}
    for bank in BANKS:
        seen |= _see_of_bank(stage.cast, bank, books[bank])
        seen |= await _ask_connector(stage, bank, books[bank])
    seen["bank calls answered otherwise"] = sum(
        entry["code"] != entry["wanted"] for bank in BANKS for entry in books[bank].page("calls").values()
    )
    ministry = books["ministry"]
    seen["ministry: facts by the office's door"] = count_by_door(stage.cast, "ministry", "rest")
    seen["ministry: facts handed in again"] = _count_status(ministry.page("handed in again"), KNOWN)
    seen["ministry: keys used again, refused"] = _count_status(ministry.page("key used again"), UNFIT)
    seen["ministry: facts turned away at the door"] = len(ministry.page("turned away"))
    rows = [row for row in await tables.outcomes() if row["kind"] == "VISA"]
    types = Counter(json.loads(row["payload"])["type"] for row in rows)
    return seen | {
        f"immigration: told {name}": types.get(f"id.tka.immigration.{name}.v1", 0) for name in VISA_KINDS.values()
    }


def _count_status(page: Mapping[str, Mapping[str, Any]], status: int) -> int:
    return sum(entry["status"] == status for entry in page.values())


def _see_of_bank(cast: Cast, bank: str, book: Book) -> dict[str, int]:
    codes = Counter(entry["code"] for entry in book.page("calls").values())
    seen = {f"{bank}: answered {code}": count for code, count in sorted(codes.items())}
    allowed = INQUIRY_ANSWERS[:1] if bank == HOLDING_BANK else INQUIRY_ANSWERS
    inquired = {key for key, entry in book.page("inquiries").items() if entry["code"] in allowed}
    notified = {key for key, entry in book.page("told").items() if entry["channel"] == "notification"}
    seen[f"{bank}: inquiries before payment"] = len(inquired & notified)
    if bank == HOLDING_BANK:
        seen[f"{bank}: tokens renewed"] = sum(entry["times"] for entry in book.page("tokens").values())
    done = cast.folder / "statements" / bank / DONE
    heads = [_read_head(file) for file in sorted(done.glob("*.xml"))]
    versions = Counter(found[1] for head in heads if (found := VERSION.search(head)))
    seen |= {f"{bank}: statements of .{version}": count for version, count in sorted(versions.items())}
    seen[f"{bank}: statements in pages"] = sum(PAGED.search(head) is not None for head in heads)
    remarks = [file.read_text() for file in done.glob("*.reason.txt")]
    seen[f"{bank}: entries of a marked copy, not counted again"] = sum(text.count(COUNTED_BEFORE) for text in remarks)
    return seen


def _read_head(file: Path) -> str:
    with file.open(encoding="utf-8") as opened:
        return opened.read(HEAD_CHARACTERS)


async def _ask_connector(stage: Stage, bank: str, book: Book) -> dict[str, int]:
    """Ask a bank's connector what it keeps of refused payments and of those whose fate was unclear."""
    settled = 0
    for key in book.page("contradicted"):
        known = await stage.ask(f"connector-{bank}", f"/payments/{key}")
        says = known.get("bank_says") or {}
        settled += says.get("fate") == "paid" and key in book.page("asked")
    seen = {f"{bank}: contradicted payments asked about": settled}
    if bank == HOLDING_BANK:
        seen[f"{bank}: refusals kept by the connector"] = len(await stage.ask(f"connector-{bank}", "/snap/refusals"))
    return seen
