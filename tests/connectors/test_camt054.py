"""The camt.054 reader: one test for each trap of real files, one for each reason that refuses a file or an entry."""

import io

import pytest

from connectors.bank.camt054 import read_transactions
from connectors.bank.entry import REFUSED_REASONS, Transaction
from connectors.bank.translate import statement_payment
from tests.connectors.statement_files import amount, detail, document, entry, notification, refs, statement

CODE = "820260401000017"


def read(text: str | bytes) -> list[Transaction]:
    return list(read_transactions(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def read_one(*entries: str, version: str = "08") -> Transaction:
    [transaction] = read(statement(*entries, version=version))
    return transaction


def verdicts(transactions: list[Transaction]) -> list[tuple[str, str | None]]:
    return [(each.counts, each.reason) for each in transactions]


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [f"{number:02d}" for number in range(2, 14)])
def test_every_version_is_read_by_structure(version: str) -> None:
    old = int(version) < 4
    status = "BOOK" if int(version) < 8 else "<Cd>BOOK</Cd>"
    money = f"<AmtDtls><TxAmt>{amount('1200.00')}</TxAmt></AmtDtls>" if old else amount("1200.00")
    name = "<Dbtr><Nm>PT CONTOH</Nm></Dbtr>" if int(version) < 8 else "<Dbtr><Pty><Nm>PT CONTOH</Nm></Pty></Dbtr>"
    one = detail(
        f"{refs(ref=[CODE], bank='R1')}<RltdPties>{name}</RltdPties>", money=money, sign=None if old else "CRDT"
    )
    found = read_one(entry(one, status=status), version=version)
    assert (found.counts, found.money, found.currency, found.billing_code) == ("credit", "1200.00", "USD", CODE)
    assert (found.booking_date, found.bank_reference) == ("2026-04-01", "R1")


def test_the_same_message_in_another_version_says_the_same() -> None:
    old = read_one(entry(detail(refs(ref=[CODE])), status="BOOK"), version="02")
    new = read_one(
        entry(
            detail(refs(ref=[CODE]), money=amount("1200"), sign="CRDT"), booked="<DtTm>2026-04-01T09:00:00+07:00</DtTm>"
        )
    )
    assert old.content_sha256() == new.content_sha256()


def test_prefixed_elements_are_the_same_elements() -> None:
    text = (
        statement(entry())
        .replace("<", "<c:")
        .replace("<c:/", "</c:")
        .replace("<c:?", "<?")
        .replace("xmlns=", "xmlns:c=")
    )
    assert verdicts(read(text)) == [("credit", None)]


# --- what counts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "reversal", "body", "counts", "reason"),
    [
        ("CRDT", None, "", "credit", None),
        ("CRDT", "false", "", "credit", None),
        ("CRDT", "0", "", "credit", None),
        ("DBIT", None, "", "no", "debit"),
        ("DBIT", "false", "", "no", "debit"),
        ("DBIT", "true", "", "reversal", None),
        ("DBIT", "1", "", "reversal", None),
        ("DBIT", "true", "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>", "reversal", None),
        ("CRDT", "true", "", "no", "reversed_debit"),
        ("CRDT", None, "<RtrInf/>", "no", "own_transfer_returned"),
        ("CRDT", "true", "<RtrInf/>", "no", "reversed_debit"),
    ],
)
def test_direction(sign: str, reversal: str | None, body: str, counts: str, reason: str | None) -> None:
    found = read_one(entry(detail(body), sign=sign, reversal=reversal))
    assert (found.counts, found.reason) == (counts, reason)


def test_the_reason_of_a_return_is_read() -> None:
    body = "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>"
    assert read_one(entry(detail(body), sign="DBIT", reversal="true")).reason_code == "AC04"
    assert (
        read_one(entry(detail("<RtrInf><Rsn><Prtry>?</Prtry></Rsn></RtrInf>"), sign="DBIT", reversal="1")).reason_code
        is None
    )


@pytest.mark.parametrize(
    ("status", "counts", "reason"),
    [
        ("BOOK", "credit", None),
        (" BOOK ", "credit", None),
        ("<Cd>BOOK</Cd>", "credit", None),
        ("<Prtry>BOOK</Prtry>", "credit", None),
        ("<Prtry>VORGEMERKT</Prtry>", "no", "not_booked"),
        ("INFO", "no", "not_booked"),
        ("<Cd>INFO</Cd>", "no", "not_booked"),
        ("<Cd>PDNG</Cd>", "no", "not_booked"),
        ("<Cd>FUTR</Cd>", "no", "not_booked"),
        ("book", "no", "not_booked"),
        ("", "refused", "status_missing"),
        (None, "refused", "status_missing"),
    ],
)
def test_only_status_book_counts(status: str | None, counts: str, reason: str | None) -> None:
    found = read_one(entry(status=status))
    assert (found.counts, found.reason) == (counts, reason)


def test_what_does_not_count_is_not_looked_into() -> None:
    broken = {"money": amount("1,5"), "booked": "<Dt>soon</Dt>"}
    pending = read_one(entry(status="<Cd>PDNG</Cd>", **broken))
    debit = read_one(entry(sign="DBIT", **broken))
    assert verdicts([pending, debit]) == [("no", "not_booked"), ("no", "debit")]
    assert (pending.amount, pending.booking_date) == ("1,5", None)


# --- references ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "references", "code"),
    [
        (refs(ref=[CODE], free=["x"], end="E"), (CODE, "x", "E"), CODE),
        (refs(ref=["RF18", CODE]), ("RF18", CODE), CODE),
        (refs(ref=["123"], free=[f"DKP TKA {CODE} April"], end="E"), ("123", f"DKP TKA {CODE} April", "E"), CODE),
        (refs(free=["nothing", f"kode:{CODE}."], end="E"), ("nothing", f"kode:{CODE}.", "E"), CODE),
        (refs(free=[f"{CODE}1"], end=CODE), (f"{CODE}1", CODE), CODE),
        (refs(free=[f"A{CODE}", f"_{CODE}", f"{CODE}B"]), (f"A{CODE}", f"_{CODE}", f"{CODE}B"), None),
        (refs(free=[f"{CODE} 999999999999999"]), (f"{CODE} 999999999999999",), CODE),
        (refs(end="NOTPROVIDED"), (), None),
        (refs(end=f"x {CODE}"), (f"x {CODE}",), None),
        (refs(ref=[f"x {CODE}"]), (f"x {CODE}",), None),
        (refs(free=["  ", ""]), (), None),
        (refs(ref=["\uff18" * 15]), ("\uff18" * 15,), None),
        ("", (), None),
    ],
)
def test_the_billing_code_is_the_first_candidate_that_is_one(
    body: str, references: tuple[str, ...], code: str | None
) -> None:
    found = read_one(entry(detail(body)))
    assert (found.references, found.billing_code, found.counts) == (references, code, "credit")


def test_the_bank_reference_is_the_details_else_the_entrys() -> None:
    both = read(
        statement(entry(detail(refs(bank="T1")), bank="E1"), entry(detail(), bank="E2"), entry(bank="E2"), entry())
    )
    assert [each.bank_reference for each in both] == ["T1", "E2", "E2", None]


def test_a_treasury_receipt_number_has_a_type_of_its_own() -> None:
    own = (
        "<Refs><Prtry><Tp>OTHER</Tp><Ref>X</Ref></Prtry><Prtry><Tp>NTPN</Tp><Ref>0123456789ABCDEF</Ref></Prtry></Refs>"
    )
    assert read_one(entry(detail(own))).ntpn == "0123456789ABCDEF"
    assert read_one(entry(detail(own.replace("ABCDEF", "ABC")))).ntpn is None


def test_an_entry_reference_that_repeats_identifies_nothing() -> None:
    found = read(statement(*[entry(detail(refs(ref=[CODE])), ref="SAME", bank="SAME")] * 3))
    assert [(each.entry, each.detail, each.place) for each in found] == [(1, 1, 1), (2, 1, 2), (3, 1, 3)]


# --- amounts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "money", "reason"),
    [
        ("1200.00", "1200.00", None),
        (" 1200.00\n", "1200.00", None),
        ("1200", "1200.00", None),
        ("1200.5", "1200.50", None),
        ("1200.50000", "1200.50", None),
        ("0001.00", "1.00", None),
        ("9999999999999999.99", "9999999999999999.99", None),
        ("99999999999999999", None, "amount_malformed"),
        ("1200.505", None, "amount_precision"),
        ("0.00", None, "amount_zero"),
        ("-1.00", None, "amount_malformed"),
        ("+1.00", None, "amount_malformed"),
        (".50", None, "amount_malformed"),
        ("1.", None, "amount_malformed"),
        ("1e3", None, "amount_malformed"),
        ("1,200.00", None, "amount_malformed"),
        ("1 200", None, "amount_malformed"),
        ("\u0661", None, "amount_malformed"),
        ("1.000000", None, "amount_malformed"),
        ("", None, "amount_missing"),
    ],
)
def test_amounts_are_plain_decimals(written: str, money: str | None, reason: str | None) -> None:
    found = read_one(entry(money=amount(written)))
    assert (found.money, found.reason, found.counts) == (money, reason, "credit" if money else "refused")
    assert found.amount == (written.strip() or None)


@pytest.mark.parametrize("currency", ["usd", "US", "ZZZ", "", None])
def test_a_currency_is_a_code_in_upper_case(currency: str | None) -> None:
    found = read_one(entry(money=amount("1.00", currency)))
    assert (found.counts, found.reason) == ("refused", "currency_malformed")


def test_a_detail_without_an_amount_has_its_entrys_if_it_is_the_only_one() -> None:
    assert read_one(entry(detail())).money == "1200.00"
    assert verdicts(read(statement(entry(detail(), detail())))) == [("refused", "amount_missing")] * 2


def test_details_must_add_up_to_their_entry() -> None:
    two = (detail(money=amount("700.00")), detail(money=amount("500")))
    assert [each.money for each in read(statement(entry(*two)))] == ["700.00", "500.00"]
    assert verdicts(read(statement(entry(*two, money=amount("1200.01"))))) == [("refused", "sum_disagrees")] * 2
    assert verdicts(read(statement(entry(detail(money=amount("1"))))))[0] == ("refused", "sum_disagrees")


def test_details_must_have_their_entrys_currency() -> None:
    two = (detail(money=amount("700.00")), detail(money=amount("500", "IDR")))
    assert verdicts(read(statement(entry(*two)))) == [("refused", "currency_disagrees")] * 2


def test_a_detail_of_the_other_direction_is_subtracted_and_is_no_income() -> None:
    mixed = (detail(money=amount("1300"), sign="CRDT"), detail(money=amount("100"), sign="DBIT"))
    assert verdicts(read(statement(entry(*mixed)))) == [("credit", None), ("no", "debit")]
    added = (detail(money=amount("1100"), sign="CRDT"), detail(money=amount("100"), sign="DBIT"))
    assert verdicts(read(statement(entry(*added)))) == [("refused", "sum_disagrees")] * 2


@pytest.mark.parametrize(
    ("sign", "reversal", "inner", "verdict"),
    [
        # What the account saw is the entry: a debit does not become income because a detail says so.
        ("DBIT", None, "CRDT", ("no", "debit")),
        ("DBIT", "false", "CRDT", ("no", "debit")),
        ("CRDT", "true", "DBIT", ("no", "reversed_debit")),
        # Income, or income taken back, that a detail denies is shown to people.
        ("CRDT", None, "DBIT", ("refused", "sum_disagrees")),
        ("DBIT", "true", "CRDT", ("refused", "sum_disagrees")),
    ],
)
def test_a_detail_that_contradicts_its_entry(
    sign: str, reversal: str | None, inner: str, verdict: tuple[str, str]
) -> None:
    for inside in (amount("1200"), amount("3.1", "CHF"), ""):
        found = read(statement(entry(detail(money=inside, sign=inner), sign=sign, reversal=reversal)))
        reason = "currency_disagrees" if "CHF" in inside and verdict[0] == "refused" else verdict[1]
        assert verdicts(found) == [(verdict[0], reason)]


def test_a_net_of_movements_is_what_its_details_say() -> None:
    net = (detail(money=amount("1300"), sign="DBIT"), detail(refs(ref=[CODE]), money=amount("100"), sign="CRDT"))
    assert verdicts(read(statement(entry(*net, sign="DBIT")))) == [("no", "debit"), ("credit", None)]
    broken = (detail(money=amount("1300"), sign="DBIT"), detail(refs(ref=[CODE]), money=amount("99"), sign="CRDT"))
    assert verdicts(read(statement(entry(*broken, sign="DBIT")))) == [("no", "debit")] * 2


def test_a_debit_of_another_currency_than_its_details_is_a_debit_in_every_version() -> None:
    three = "".join(detail(money=amount(value, "CHF"), sign="CRDT") for value in ("3.1", "3.2", "3.2"))
    bare = detail() * 3
    for version, details, status in (("02", bare, "BOOK"), ("04", three, "BOOK"), ("08", three, "<Cd>BOOK</Cd>")):
        paid = entry(details, money=amount("200000", "SEK"), sign="DBIT", status=status)
        assert verdicts(read(statement(paid, version=version))) == [("no", "debit")] * 3


def test_details_are_counted_over_every_block_of_the_entry() -> None:
    block = f"</NtryDtls><NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>{detail(money=amount('500'))}"
    found = read(statement(entry(detail(money=amount("700")), block)))
    assert [(each.entry, each.detail, each.money) for each in found] == [(1, 1, "700.00"), (1, 2, "500.00")]


def test_an_entry_without_details_has_none() -> None:
    batch_only = entry("<Btch><NbOfTxs>2</NbOfTxs></Btch>")
    found = read(statement(entry(), batch_only))
    assert [(each.entry, each.detail, each.counts) for each in found] == [(1, None, "credit"), (2, None, "credit")]


def test_one_detail_with_too_many_decimals_refuses_only_itself() -> None:
    two = (detail(money=amount("700.005")), detail(money=amount("499.99500")), detail(money=amount("0.5")))
    found = verdicts(read(statement(entry(*two, money=amount("1200.5")))))
    assert found == [("refused", "amount_precision"), ("refused", "amount_precision"), ("credit", None)]


# --- dates -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("booked", "day", "reason"),
    [
        ("<Dt>2026-04-01</Dt>", "2026-04-01", None),
        ("<Dt>2026-04-01+07:00</Dt>", "2026-04-01", None),
        ("<Dt>2026-04-01Z</Dt>", "2026-04-01", None),
        ("<DtTm>2026-04-01T23:59:59</DtTm>", "2026-04-01", None),
        ("<DtTm>2026-04-01T23:59:59+07:00</DtTm>", "2026-04-01", None),
        ("<DtTm>2026-04-01T16:59:59Z</DtTm>", "2026-04-01", None),
        ("<DtTm>2026-04-01T17:00:00.000Z</DtTm>", "2026-04-02", None),
        ("<DtTm>2026-04-01T23:30:00-05:00</DtTm>", "2026-04-02", None),
        ("<DtTm>2026-04-01T24:00:00</DtTm>", "2026-04-02", None),
        ("<DtTm>2026-04-01T24:00:00.000+09:00</DtTm>", "2026-04-01", None),
        ("<DtTm>2026-04-01T24:00:01</DtTm>", None, "booking_date_malformed"),
        ("<DtTm>9999-12-31T24:00:00</DtTm>", None, "booking_date_malformed"),
        ("<DtTm>2026-04-01T23:59:59.999999999999</DtTm>", "2026-04-01", None),
        ("<Dt>2026-02-30</Dt>", None, "booking_date_malformed"),
        ("<Dt>20260401</Dt>", None, "booking_date_malformed"),
        ("<Dt>2026-W14-3</Dt>", None, "booking_date_malformed"),
        ("<Dt>01.04.2026</Dt>", None, "booking_date_malformed"),
        ("<DtTm>2026-04-01</DtTm>", None, "booking_date_malformed"),
        ("<DtTm>2026-04-01T25:00:00Z</DtTm>", None, "booking_date_malformed"),
        ("<DtTm>0001-01-01T00:00:00+14:00</DtTm>", None, "booking_date_malformed"),
        ("", None, "booking_date_missing"),
        (None, None, "booking_date_missing"),
    ],
)
def test_the_booking_date_is_a_day_in_jakarta(booked: str | None, day: str | None, reason: str | None) -> None:
    found = read_one(entry(booked=booked))
    assert (found.booking_date, found.reason, found.counts) == (day, reason, "credit" if day else "refused")


# --- what is ambiguous or missing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (entry(sign=None), "indicator_malformed"),
        (entry(sign="CREDIT"), "indicator_malformed"),
        (entry(detail(sign="C")), "indicator_malformed"),
        (entry(reversal="yes"), "reversal_malformed"),
        (entry(money=amount("1") + amount("2")), "ambiguous"),
        (entry(status="BOOK</Sts><Sts>INFO"), "ambiguous"),
        (entry(sign="CRDT</CdtDbtInd><CdtDbtInd>DBIT"), "ambiguous"),
        (entry(detail(money=amount("1") + amount("1200"))), "ambiguous"),
        (entry(money="<Amt Ccy='USD'>12<b/>00</Amt>"), "amount_missing"),
        (entry(money=""), "amount_missing"),
    ],
)
def test_an_entry_that_cannot_be_read_is_refused_by_name(broken: str, reason: str) -> None:
    good = entry(detail(refs(ref=[CODE])))
    found = read(statement(good, broken, good))
    assert verdicts(found) == [("credit", None), ("refused", reason), ("credit", None)]
    assert reason in REFUSED_REASONS


@pytest.mark.parametrize(
    "account", [None, "", "<IBAN> </IBAN>", "<IBAN>\u00e9</IBAN>", f"<Othr><Id>{'1' * 129}</Id></Othr>"]
)
def test_money_on_no_account_is_refused(account: str | None) -> None:
    assert verdicts(read(document(notification(entry(), account=account)))) == [("refused", "account_unusable")]


@pytest.mark.parametrize("name", [None, "", "\u00e9", "n" * 129])
def test_money_in_a_notification_without_a_name_is_refused(name: str | None) -> None:
    assert verdicts(read(document(notification(entry(), name=name)))) == [("refused", "notification_id_unusable")]


def test_either_form_of_account_is_read() -> None:
    [first, second] = read(
        document(notification(entry(), account="<IBAN>ID12 34</IBAN>"), notification(entry(), name="NTF-2"))
    )
    assert (first.notification.account, second.notification.account) == ("ID12 34", "0012345678")


# --- identity --------------------------------------------------------------------------------------------------------


def test_entries_count_over_the_file_and_within_their_notification() -> None:
    one, other = notification(entry(), entry()), notification(entry(), entry(), name="NTF-2")
    assert [(each.entry, each.place) for each in read(document(one, other))] == [(1, 1), (2, 2), (3, 1), (4, 2)]
    assert [(each.entry, each.place) for each in read(document(one, one))] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_page_is_part_of_the_identity() -> None:
    paged = read(document(notification(entry(), page="2"), header="<MsgPgntn><PgNb>1</PgNb></MsgPgntn>"))
    by_message = read(document(notification(entry()), header="<MsgPgntn><PgNb>2</PgNb></MsgPgntn>"))
    assert [each.notification.page for each in (*paged, *by_message, read_one(entry()))] == [2, 2, 1]


def test_a_copy_and_another_message_of_the_same_notification_have_the_same_identity() -> None:
    original = read(document(notification(entry(detail(refs(ref=[CODE]))))))
    copy = notification(entry(detail(refs(ref=[CODE])))).replace("<Acct>", "<CpyDplctInd>COPY</CpyDplctInd><Acct>")
    again = read(document(copy, message="MSG-2"))
    assert (original[0].notification.copy, again[0].notification.copy) == (False, True)
    assert (original[0].place, original[0].detail) == (again[0].place, again[0].detail)
    assert statement_payment(original[0], "002") == statement_payment(again[0], "002")


def test_other_content_has_another_digest() -> None:
    variants = [
        entry(detail(refs(ref=[CODE]))),
        entry(detail(refs(ref=["820260401000018"]))),
        entry(detail(refs(free=[CODE]))),
        entry(detail(refs(ref=[CODE])), money=amount("1200.01")),
        entry(detail(refs(ref=[CODE])), money=amount("1200.00", "IDR")),
        entry(detail(refs(ref=[CODE])), booked="<Dt>2026-04-02</Dt>"),
        entry(detail(refs(ref=[CODE])), sign="DBIT", reversal="true"),
        entry(detail(refs(ref=[CODE], bank="R"))),
    ]
    assert (
        len({read_one(each).content_sha256() for each in variants}) == len(variants) - 1
    )  # Ref and Ustrd: the same words.
