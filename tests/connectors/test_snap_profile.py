"""The profile of a partner bank: what it may deviate in, that nothing else is tried, and what is wrong with one."""

import base64
import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.bank.profile import read_partners
from connectors.bank.settings import BankSettings
from connectors.bank.statements import folders_of
from connectors.link.fault import SettingsFault
from tests.connectors.snap_bench import code_of, opened, partner
from tests.connectors.snap_caller import PATH, SECRET, Caller, bank_key, payment, private_pem, public_pem, write

MINIMAL: dict[str, Any] = {"partner_id": "B", "bank_code": "002", "public_key_pem_file": "key.pem"}
STATUS = {"url": "https://bank.example", "partner_id": "HUB", "private_key_pem_file": "own.pem"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key.pem").write_bytes(public_pem(bank_key(1)))
    (tmp_path / "own.pem").write_bytes(private_pem(bank_key(2)))
    (tmp_path / "open.pem").write_bytes(private_pem(bank_key(2)))
    (tmp_path / "open.pem").chmod(0o644)
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "short").write_text("x")
    for name in ("key.pem", "own.pem", "secret", "short"):
        (tmp_path / name).chmod(0o600)
    (tmp_path / "open").write_text(SECRET)
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "bad.pem").write_text("nothing")
    return tmp_path


def read(folder: Path, agreed: object) -> Any:
    (folder / "profile.json").write_text(agreed if isinstance(agreed, str) else json.dumps(agreed))
    return read_partners(folder / "profile.json")


@pytest.mark.parametrize(
    ("agreed", "why"),
    [
        ("{", "the file"),
        ("[]", "the file"),
        ({"bank_code": "002", "public_key_pem_file": "key.pem"}, "partner_id"),
        ({**MINIMAL, "bank_code": "2"}, "bank_code"),
        ({**MINIMAL, "public_key_pem_file": "none.pem"}, "none.pem"),
        ({**MINIMAL, "public_key_pem_file": "bad.pem"}, "bad.pem"),
        ({**MINIMAL, "try_all": True}, "try_all"),
        ({**MINIMAL, "mode": "both"}, "mode"),
        ({**MINIMAL, "billing_code_at": "a..b"}, "billing_code_at"),
        ({**MINIMAL, "timestamp_forms": ["any"]}, "timestamp_forms"),
        ({**MINIMAL, "addresses": ["10.0.0.1/8"]}, "addresses"),
        ({**MINIMAL, "signature": "symmetric"}, "client_secret_file"),
        ({**MINIMAL, "signature": "symmetric", "client_secret_file": "short"}, "16 characters"),
        ({**MINIMAL, "signature": "symmetric", "client_secret_file": "absent"}, "cannot be read"),
        ({**MINIMAL, "signature": "symmetric", "client_secret_file": "open"}, "can be read by others"),
        ({**MINIMAL, "status": {**STATUS, "url": "ftp://bank.example"}}, "url"),
        ({**MINIMAL, "status": {**STATUS, "private_key_pem_file": "key.pem"}}, "no RSA private key"),
        ({**MINIMAL, "status": {**STATUS, "private_key_pem_file": "open.pem"}}, "key_file_open_to_others"),
        ({**MINIMAL, "status": {**STATUS, "signature": "symmetric"}}, "client_secret_file"),
        ([MINIMAL, MINIMAL], "same partner_id"),
        ([MINIMAL, {**MINIMAL, "partner_id": "C", "client_key": "B"}], "same partner_id or client_key"),
    ],
)
def test_a_profile_that_cannot_be_used_is_one_sentence(folder: Path, agreed: object, why: str) -> None:
    with pytest.raises(SettingsFault, match=why) as fault:
        read(folder, agreed)
    assert "\n" not in str(fault.value)


def test_an_absent_profile_is_one_sentence(folder: Path) -> None:
    with pytest.raises(SettingsFault, match="cannot be read"):
        read_partners(folder / "absent.json")


def test_what_a_profile_does_not_say_is_the_standards(folder: Path) -> None:
    [only] = read(folder, {**MINIMAL, "timestamp_tolerance_s": 600}).all
    agreed = only.profile
    assert (agreed.mode, agreed.signature, agreed.timestamp_tolerance_s) == ("notified", "asymmetric", 600)
    assert (agreed.hash_form.base64, agreed.hash_form.empty_for_empty_body) == (False, False)
    assert (only.secret, only.status, only.key.key_size) == (None, None, 2048)


def test_several_partners_each_with_its_own_files(folder: Path) -> None:
    symmetric = {"partner_id": "S", "signature": "symmetric", "client_secret_file": "secret", "statement_dir": "s"}
    partners = read(folder, [MINIMAL, {**MINIMAL, **symmetric, "status": STATUS}, {**MINIMAL, "partner_id": "T"}])
    assert list(partners.by_id) == list(partners.by_client_key) == ["B", "S", "T"]
    assert partners.by_id["S"].secret == SECRET
    assert partners.by_id["S"].status.key.key_size == 2048
    folders = [(where, each.profile.partner_id) for where, each in folders_of(Path("dropped"), partners)]
    assert folders == [(Path("dropped"), "B"), (folder / "s", "S")]


def test_the_networks_of_proxies_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    required = {name: "x" for name, field in BankSettings.model_fields.items() if field.is_required()}
    for name, value in {**required, "hub_api_url": "https://hub.example"}.items():
        monkeypatch.setenv(name.upper(), value)
    assert BankSettings.read().snap_trusted_proxies == ()
    monkeypatch.setenv("SNAP_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1")
    assert [str(each) for each in BankSettings.read().snap_trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32"]
    monkeypatch.setenv("SNAP_TRUSTED_PROXIES", "everybody")
    with pytest.raises(SettingsFault, match="SNAP_TRUSTED_PROXIES"):
        BankSettings.read()


# --- deviations that a profile names ---------------------------------------------------------------------------------


class Base64Caller(Caller):
    """A bank that writes the body's hash in base64."""

    def sign(self, body: bytes, timestamp: str, method: str = "POST", path: str = PATH) -> str:
        hashed = base64.b64encode(hashlib.sha256(body).digest()).decode()
        return self.sign_text(f"{method}:{path}:{hashed}:{timestamp}")


class EmptyCaller(Caller):
    """A bank that signs nothing for an empty body."""

    def sign(self, body: bytes, timestamp: str, method: str = "POST", path: str = PATH) -> str:
        hashed = hashlib.sha256(body).hexdigest() if body else ""
        return self.sign_text(f"{method}:{path}:{hashed}:{timestamp}")


@pytest.mark.parametrize(
    ("agreed", "bank", "body", "code"),
    [
        ({"body_hash": "base64"}, Base64Caller(), payment(), "2002500"),
        ({"body_hash": "base64"}, Caller(), payment(), "4012500"),
        ({}, Base64Caller(), payment(), "4012500"),
        ({"empty_body": "empty"}, EmptyCaller(), b"", "4002500"),
        ({"empty_body": "empty"}, Caller(), b"", "4012500"),
        ({"empty_body": "empty"}, EmptyCaller(), payment(), "2002500"),
        ({}, EmptyCaller(), b"", "4012500"),
        ({}, Caller(), b"", "4002500"),
    ],
)
async def test_only_the_hash_form_of_the_profile_is_tried(
    tmp_path: Path, agreed: dict[str, Any], bank: Caller, body: Any, code: str
) -> None:
    async with opened(tmp_path, partner(**agreed)) as bench:
        assert code_of(await bank.notify(bench.http, body, bench.now)) == code


@pytest.mark.parametrize(
    ("forms", "written", "code"),
    [
        (None, "2026-04-01T12:00:00+07:00", "2002500"),
        (None, "2026-04-01T05:00:00Z", "2002500"),
        (None, "2026-04-01T12:00:00.123+07:00", "2002500"),
        (None, "20260401T050000Z", "4002501"),
        (["basic"], "20260401T050000Z", "2002500"),
        (["basic"], "20260401T120000+0700", "2002500"),
        (["basic"], "2026-04-01T05:00:00Z", "4002501"),
        (["seconds"], "2026-04-01T12:00:00.123+07:00", "4002501"),
        (["milliseconds"], "2026-04-01T05:00:00.123Z", "2002500"),
        (["milliseconds"], "2026-04-01T05:00:00Z", "4002501"),
        (None, "2026-04-01T05:00:00", "4002501"),
    ],
)
async def test_only_the_timestamps_of_the_profile_are_taken(
    tmp_path: Path, forms: list[str] | None, written: str, code: str
) -> None:
    agreed: dict[str, Any] = {} if forms is None else {"timestamp_forms": forms}
    async with opened(tmp_path, partner(**agreed)) as bench:
        raw = write(payment())
        signature = bench.bank.sign(raw, written)
        assert code_of(await bench.notify(raw, X_TIMESTAMP=written, X_SIGNATURE=signature)) == code


async def test_the_tolerance_of_the_profile(tmp_path: Path) -> None:
    async with opened(tmp_path, partner(timestamp_tolerance_s=60)) as bench:
        assert code_of(await bench.notify(at=bench.now - timedelta(seconds=61))) == "4012500"
        assert code_of(await bench.notify(at=bench.now - timedelta(seconds=60))) == "2002500"


PLACED: dict[str, Any] = {
    "billing_code_at": "billDetails.0.billNo",
    "ntpn_at": "additionalInfo.treasury.receipt",
    "bank_reference_at": "trxId",
}


async def test_members_stand_where_the_profile_says(tmp_path: Path) -> None:
    moved = payment(
        billDetails=[{"billNo": "820260401000018"}],
        additionalInfo={"billingCode": "999999999999999", "treasury": {"receipt": "FEDCBA9876543210"}},
        trxId="TRX-7",
    )
    async with opened(tmp_path, partner(**PLACED)) as bench:
        assert code_of(await bench.notify(moved)) == "2002500"
        data = json.loads((await bench.spool.waiting(1))[0].value)["data"]
        assert (data["billing_code"], data["ntpn"]) == ("820260401000018", "FEDCBA9876543210")
        assert data["bank_reference"] == "TRX-7"


@pytest.mark.parametrize(
    ("details", "code", "place"),
    [
        (..., "4002502", "billDetails"),
        ([], "4002502", "billDetails.0"),
        ([{}], "4002502", "billDetails.0.billNo"),
        ([{"billNo": ""}], "4002502", "billDetails.0.billNo"),
        ([{"billNo": 820260401000018}], "4002501", "billDetails.0.billNo"),
        ([{"billNo": "82026040100001"}], "4002501", "billDetails.0.billNo"),
        (["x"], "4002501", "billDetails.0"),
        ([["x"]], "4002501", "billDetails.0"),
    ],
)
async def test_a_moved_member_that_is_missing_or_malformed_is_named(
    tmp_path: Path, details: Any, code: str, place: str
) -> None:
    async with opened(tmp_path, partner(**PLACED)) as bench:
        response = await bench.notify(payment(billDetails=details))
        assert code_of(response) == code
        assert response.json()["responseMessage"].endswith(f"{{{place}}}")


async def test_a_customer_number_may_be_the_billing_code(tmp_path: Path) -> None:
    code = "820260401000018"
    async with opened(tmp_path, partner(billing_code_at="customerNo")) as bench:
        body = payment(customerNo=code, virtualAccountNo=f"   12345{code}", additionalInfo=...)
        assert code_of(await bench.notify(body)) == "2002500"
        assert json.loads((await bench.spool.waiting(1))[0].value)["subject"] == code


async def test_each_partner_is_judged_by_its_own_profile(tmp_path: Path) -> None:
    partners = partner(1), partner(2, partner_id="HOLDS", bank_code="008", mode="authorised")
    async with opened(tmp_path, *partners) as bench:
        assert code_of(await bench.notify()) == "2002500"
        holds = Caller("HOLDS", bank_key(2))
        # The same numbers of another partner are other numbers.
        assert code_of(await holds.notify(bench.http, payment(), bench.now)) == "4042512"
        assert code_of(await Caller("HOLDS", bank_key(1)).notify(bench.http, payment(), bench.now)) == "4012500"
        assert code_of(await Caller("BRI-TKA", bank_key(2)).notify(bench.http, payment(), bench.now)) == "4012500"
