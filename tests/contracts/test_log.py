"""The evidence log's entries: final bytes, so these are written out in full."""

from hashlib import sha256

import pytest

from contracts.errors import Code
from contracts.log import entry
from tests.contracts.vector_world import NOW

DIGEST = sha256(b"value").digest()
DIGEST_TEXT = "zUJATVKtVcz6mspK3IKKpYAK2dOFoGcfvL9yQRgyBhk"
HEX = sha256(b"document").hexdigest()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            entry.accepted(
                source="https://bri.example/tka", id="e-1", type="id.tka.bank.payment.received.v1", digest=DIGEST,
                kid="K", sig="S", received_at=NOW,
            ),
            '{"id":"e-1","kid":"K","kind":"accepted","received_at":"2026-11-24T03:00:00Z","sha256":"DIGEST","sig":"S",'
            '"source":"https://bri.example/tka","type":"id.tka.bank.payment.received.v1"}',
        ),
        (
            entry.refused(
                code=Code.SIGNATURE_INVALID, digest=DIGEST, topic="from.bri", partition=1, offset=42, participant=None,
                received_at=NOW,
            ),
            '{"code":"signature_invalid","digest":"DIGEST","kind":"refused","offset":42,"participant":null,'
            '"partition":1,"received_at":"2026-11-24T03:00:00Z","topic":"from.bri"}',
        ),
        (
            entry.recommendation(id="r", case="TKA/1", number="TKA-1", revision=2, state="issued", digest=DIGEST),
            '{"case":"TKA/1","id":"r","kind":"recommendation","number":"TKA-1","revision":2,"sha256":"DIGEST",'
            '"state":"issued"}',
        ),
        (entry.registry(version=7, sha256=HEX), '{"kind":"registry","sha256":"HEX","version":7}'),
        (
            entry.key_added(participant="bri", kid="K", use="message"),
            '{"kid":"K","kind":"key_added","participant":"bri","use":"message"}',
        ),
        (
            entry.key_revoked(participant="bri", kid="K", use="api"),
            '{"kid":"K","kind":"key_revoked","participant":"bri","use":"api"}',
        ),
        (
            entry.rule_set(id="2021", version=1, sha256=HEX),
            '{"id":"2021","kind":"rule_set","sha256":"HEX","version":1}',
        ),
        (entry.contract(type="t", sha256=HEX), '{"kind":"contract","sha256":"HEX","type":"t"}'),
        (
            entry.timer(name="bill_expiry", subject="820261124000001", at=NOW),
            '{"at":"2026-11-24T03:00:00Z","kind":"timer","name":"bill_expiry","subject":"820261124000001"}',
        ),
        (
            entry.operator_action(action="resend", subject="quarantine 4", actor="opérateur", reason="key", at=NOW),
            '{"action":"resend","actor":"opérateur","at":"2026-11-24T03:00:00Z","kind":"operator_action",'
            '"reason":"key","subject":"quarantine 4"}',
        ),
    ],
)  # fmt: skip
def test_entries_have_their_final_bytes(written: bytes, expected: str) -> None:
    assert written.decode() == expected.replace("DIGEST", DIGEST_TEXT).replace("HEX", HEX)


def test_an_entry_fits_in_a_tile() -> None:
    with pytest.raises(ValueError, match="65535"):
        entry.operator_action(action="x", subject="x", actor="x", reason="x" * 65_536, at=NOW)


def test_a_refused_value_is_salted() -> None:
    first, second = (entry.salted_digest(salt * 16, b"value") for salt in (b"a", b"b"))
    assert len({first, second, DIGEST}) == 3
    with pytest.raises(ValueError, match="16"):
        entry.salted_digest(b"", b"value")
