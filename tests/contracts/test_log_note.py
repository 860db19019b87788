"""Signed notes and checkpoints, against the examples of the public specifications and of Go's note package."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from contracts import merkle
from contracts.log.checkpoint import Checkpoint, Opened, Policy, open_checkpoint, read_checkpoint, sign_checkpoint
from contracts.log.fault import Fault, Unproven
from contracts.log.note import (
    Kind,
    Note,
    SignatureLine,
    VerifierKey,
    cosign_text,
    read_note,
    sign_text,
    signatures_of,
    timestamp_of,
)
from contracts.wire.key import ED25519, ES256, PrivateKey

# https://c2sp.org/signed-note, "Example".
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
# golang.org/x/mod/sumdb/note, the package's documentation: its two keys and the note that both signed.
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_OTHER = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    f"{GO_TEXT}\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
).encode()

ORIGIN = "hub.example/demo"
ROOT = bytes(range(32))


def key_of(number: int) -> PrivateKey:
    return PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


LOG, WITNESS, OTHER = key_of(1), key_of(2), key_of(3)
LOG_KEY = VerifierKey.of(ORIGIN, Kind.ED25519, LOG.public)
WITNESS_KEY = VerifierKey.of("witness.example/w1", Kind.COSIGNATURE_V1, WITNESS.public)
SIGNED = sign_checkpoint(Checkpoint(ORIGIN, 7, ROOT), LOG)
NOW = datetime(2026, 11, 24, 3, tzinfo=UTC)
NOW_S = int(NOW.timestamp())


def cosigned(time: int = NOW_S) -> Note:
    return SIGNED.with_signatures([cosign_text(SIGNED.text, WITNESS_KEY.name, WITNESS, time)])


def policy(quorum: int = 1) -> Policy:
    return Policy(ORIGIN, (LOG_KEY,), (WITNESS_KEY,), quorum)


def fault_of(signed: bytes | Note, trusted: Policy, **when: object) -> Fault:
    with pytest.raises(Unproven) as caught:
        open_checkpoint(signed, trusted, **when)  # type: ignore[arg-type]
    return caught.value.fault


def test_the_examples_of_the_specification_and_of_go_verify_and_are_written_alike() -> None:
    for text, signed in ((SPEC_KEY, SPEC_NOTE), (GO_KEY, GO_NOTE), (GO_OTHER, GO_NOTE)):
        key, note = VerifierKey.read(text), read_note(signed)
        assert key.write() == text
        assert note.write() == signed
        assert len(signatures_of(note, key)) == 1


def test_a_signature_is_byte_for_byte_go_s() -> None:
    private = PrivateKey(Ed25519PrivateKey.from_private_bytes(GO_SEED))
    assert VerifierKey.of("PeterNeumann", Kind.ED25519, private.public).write() == GO_KEY
    assert sign_text(GO_TEXT, "PeterNeumann", private) == read_note(GO_NOTE).signatures[0]


def test_a_signature_of_an_unknown_key_is_ignored_and_a_wrong_one_of_a_known_key_spoils_the_note() -> None:
    note = read_note(SPEC_NOTE)
    assert signatures_of(note, VerifierKey.read(GO_KEY)) == []
    line = note.signatures[0]
    forged = note._replace(signatures=(line, line._replace(signature=bytes(64))))
    with pytest.raises(Unproven) as caught:
        signatures_of(forged, VerifierKey.read(SPEC_KEY))
    assert caught.value.fault == Fault.SIGNATURE_INVALID
    # The same name under another id, and the same id under another name, are other keys.
    for other in (line._replace(key_id=bytes(4)), line._replace(name="example.com/bar")):
        assert signatures_of(Note(note.text, (other,)), VerifierKey.read(SPEC_KEY)) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text\n",
        b"text\n\n",
        SPEC_NOTE[:-1],
        SPEC_NOTE + b"\n",
        SPEC_NOTE + b"more\n",
        SPEC_NOTE.replace(b"\n\n", b"\n"),
        SPEC_NOTE.replace(b"This", b"Th\ris"),
        SPEC_NOTE.replace(b"This", b"Th\xffis"),
        SPEC_NOTE.replace("— ".encode(), b"- "),
        SPEC_NOTE.replace(b"example.com/foo", b"example.com+foo"),
        SPEC_NOTE.replace(b"example.com/foo", "example.com\u2003foo".encode()),
        SPEC_NOTE.replace(b"aQM=", b"aQM"),
        SPEC_NOTE.replace(b"aQM=", b"aQN="),
        "text\n\n— name AAAAAA==\n".encode(),
        b"text\n\n" + "— name AAAAAAA=\n".encode() * 65,
        b"x" * 300_000 + SPEC_NOTE,
    ],
)
def test_what_is_not_exactly_a_note_is_refused(raw: bytes) -> None:
    with pytest.raises(Unproven) as caught:
        read_note(raw)
    assert caught.value.fault == Fault.NOTE_MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        SPEC_KEY.replace("530d903a", "530d903b"),
        SPEC_KEY.replace("530d903a", "530D903A"),
        SPEC_KEY.replace("example", "examplf"),
        SPEC_KEY + "=",
        SPEC_KEY[:-4],
        SPEC_KEY.replace("+Ae", "+Be"),
        "+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        # A point of small order, under which one signature verifies for almost any text.
        "name+" + "00000000+" + base64.b64encode(b"\x01\x01" + bytes(31)).decode(),
    ],
)
def test_what_is_not_exactly_a_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(Unproven) as caught:
        VerifierKey.read(text)
    assert caught.value.fault == Fault.VERIFIER_KEY_MALFORMED


def test_a_key_of_another_algorithm_is_no_verifier() -> None:
    with pytest.raises(Unproven):
        VerifierKey.of("name", Kind.ED25519, PrivateKey.generate(ES256).public)


def test_the_specification_s_checkpoint_is_read_and_written_alike() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    read = read_checkpoint(text)
    assert (read.origin, read.size, read.extensions) == ("example.com/behind-the-sofa", 20852163, ())
    assert read.write() == text
    assert read_checkpoint(text + "more\n").extensions == ("more",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n7\n",
        "o\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n07\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n+7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n\u0667\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n9223372036854775808\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "o\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==\n",
        "o\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
        "o\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\nmore\n",
        # The empty log has one root.
        "o\n0\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
    ],
)
def test_what_is_not_exactly_a_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(Unproven) as caught:
        read_checkpoint(text)
    assert caught.value.fault == Fault.CHECKPOINT_MALFORMED


def test_a_cosigned_checkpoint_opens_and_says_when() -> None:
    opened = open_checkpoint(cosigned().write(), policy(), now=NOW, age_s_max=60)
    assert opened == Opened(Checkpoint(ORIGIN, 7, ROOT), cosigned(), {"witness.example/w1": NOW_S})
    assert open_checkpoint(SIGNED, policy(quorum=0)).cosigned == {}


def test_a_foreign_origin_an_unknown_key_and_a_missing_quorum_are_each_named() -> None:
    elsewhere = Policy("hub.example/other", (LOG_KEY,))
    assert fault_of(SIGNED, elsewhere) == Fault.ORIGIN_WRONG
    stranger = Policy(ORIGIN, (VerifierKey.of(ORIGIN, Kind.ED25519, OTHER.public),))
    assert fault_of(SIGNED, stranger) == Fault.LOG_SIGNATURE_MISSING
    # A witness's key does not make the log's signature, although both are Ed25519 over the same text.
    assert fault_of(Note(SIGNED.text, cosigned().signatures[1:]), policy()) == Fault.LOG_SIGNATURE_MISSING
    assert fault_of(SIGNED, policy()) == Fault.QUORUM_MISSING


def test_one_witness_cannot_make_a_quorum_of_two() -> None:
    twice = cosigned().with_signatures([cosign_text(SIGNED.text, WITNESS_KEY.name, WITNESS, NOW_S + 1)])
    second = VerifierKey.of("witness.example/w2", Kind.COSIGNATURE_V1, OTHER.public)
    assert fault_of(twice, Policy(ORIGIN, (LOG_KEY,), (WITNESS_KEY, second), 2)) == Fault.QUORUM_MISSING
    renamed = VerifierKey.of("witness.example/w2", Kind.COSIGNATURE_V1, WITNESS.public)
    with pytest.raises(ValueError, match="stands twice"):
        Policy(ORIGIN, (LOG_KEY,), (WITNESS_KEY, renamed), 2)
    with pytest.raises(ValueError, match="fewer witnesses"):
        policy(quorum=2)
    with pytest.raises(ValueError, match="0x01"):
        Policy(ORIGIN, (WITNESS_KEY,))
    with pytest.raises(ValueError, match="0x04"):
        Policy(ORIGIN, (LOG_KEY,), (LOG_KEY,))


def test_a_stale_cosignature_and_one_from_the_future_are_refused_when_the_time_is_known() -> None:
    assert fault_of(cosigned(NOW_S - 1000), policy(), now=NOW, age_s_max=60) == Fault.COSIGNATURE_STALE
    assert fault_of(cosigned(NOW_S + 1000), policy(), now=NOW) == Fault.COSIGNATURE_FROM_FUTURE
    assert open_checkpoint(cosigned(NOW_S - 1000), policy(), now=NOW).cosigned


def test_a_cosignature_is_over_this_text_and_this_time() -> None:
    line = cosigned().signatures[1]
    later = (timestamp_of(line.signature) + 1).to_bytes(8) + line.signature[8:]
    for signature in (later, line.signature[:-1], line.signature + b"\0", b"\xff" * 8 + line.signature[8:]):
        forged = Note(SIGNED.text, (SIGNED.signatures[0], line._replace(signature=signature)))
        assert fault_of(forged, policy()) == Fault.SIGNATURE_INVALID
    bigger = sign_checkpoint(Checkpoint(ORIGIN, 8, ROOT), LOG)
    assert fault_of(bigger.with_signatures([line]), policy()) == Fault.SIGNATURE_INVALID
    with pytest.raises(ValueError, match="1970"):
        cosign_text(SIGNED.text, "w", WITNESS, 0)


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.integers(1, 2**63 - 1))
def test_what_is_signed_and_cosigned_opens_again(size: int, root: bytes, time: int) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root if size else merkle.EMPTY_ROOT)
    note = sign_checkpoint(checkpoint, LOG)
    note = note.with_signatures([cosign_text(note.text, WITNESS_KEY.name, WITNESS, time)])
    assert read_note(note.write()) == note
    assert open_checkpoint(note.write(), policy()) == Opened(checkpoint, note, {WITNESS_KEY.name: time})


@given(st.data())
def test_a_changed_byte_never_opens_as_something_else(data: st.DataObject) -> None:
    raw = bytearray(cosigned().write())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        opened = open_checkpoint(bytes(raw), policy())
    except Unproven:
        return
    assert opened.checkpoint == Checkpoint(ORIGIN, 7, ROOT)


def test_signatures_are_added_once() -> None:
    line = SignatureLine("name", bytes(4), bytes(64))
    assert SIGNED.with_signatures([line, line]).with_signatures([line]).signatures == (SIGNED.signatures[0], line)
    assert PrivateKey.generate(ED25519).alg == ED25519
