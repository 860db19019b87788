"""Acts of persons: who signed is counted by person, each with a key that counts, and nothing passes for another act."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import Code, RegistryError
from contracts.persons import ACT_BYTES_MAX, read_act, read_proposal, sign_act, write_act
from contracts.wire import base64url
from contracts.wire.general_jws import write_json
from contracts.wire.key import PrivateKey
from contracts.wire.strict_json import read_object
from tests.contracts import root_world as world
from tests.contracts.root_world import ISSUED_AT, PERSONS, TWO, chain_of, extend, root_document
from tests.contracts.vector_world import DAY, KEYS, NOW, ROOT, Json, instant

TYP = "tkahub-erasure+jws"
ROOT_IN_FORCE = world.read(chain_of())
PAYLOAD = {"format": "tkahub-erasure/1", "environment": "demo", "issued_at": instant(NOW), "case": "TKA/2026/1"}
GOOD = write_act(PAYLOAD, TYP, *TWO)


def _refused(act: bytes, root: Any = ROOT_IN_FORCE, **options: Any) -> Code:
    with pytest.raises(RegistryError) as caught:
        read_act(act, TYP, root, **{"persons": 2, **options})
    return caught.value.code


def _signed(*names: str, **changes: Any) -> bytes:
    return write_act(PAYLOAD | changes, TYP, *(PERSONS[name] for name in names))


def test_two_persons_act() -> None:
    act = read_act(GOOD, TYP, ROOT_IN_FORCE, persons=2, now=NOW)
    assert (dict(act.payload), act.issued_at) == (PAYLOAD, NOW)
    assert act.signers == {"sari", "budi"}


def test_signatures_are_gathered_one_at_a_time() -> None:
    proposal = write_act(PAYLOAD, TYP)
    assert read_proposal(proposal, TYP) == PAYLOAD
    assert _refused(proposal) == Code.ACT_MALFORMED
    first = sign_act(proposal, TYP, TWO[0])
    assert _refused(first) == Code.PERSONS_TOO_FEW
    assert sign_act(sign_act(first, TYP, TWO[1]), TYP, TWO[1]) == GOOD


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(_signed("sari"), id="one person"),
        pytest.param(_signed("sari", "sari"), id="one key twice"),
        pytest.param(_signed("sari", "sari-2"), id="two keys of one person"),
        pytest.param(_signed("sari", "sari-2", "sari"), id="three signatures of one person"),
    ],
)
def test_one_person_counts_once(act: bytes) -> None:
    assert _refused(act) == Code.PERSONS_TOO_FEW
    assert read_act(act, TYP, ROOT_IN_FORCE, persons=1).signers == {"sari"}


def test_a_threshold_of_three_needs_three() -> None:
    assert _refused(GOOD, persons=3) == Code.PERSONS_TOO_FEW
    assert read_act(_signed("sari", "budi", "wayan"), TYP, ROOT_IN_FORCE, persons=3).signers == {
        "sari",
        "budi",
        "wayan",
    }


@pytest.mark.parametrize("stranger", [PERSONS["nobody"], ROOT, KEYS["bri-1"]])
def test_a_key_of_nobody_listed_spoils_the_act(stranger: PrivateKey) -> None:
    assert _refused(sign_act(GOOD, TYP, stranger)) == Code.PERSON_UNKNOWN


def _root_with(**changes: Any) -> Any:
    persons = root_document()["persons"]
    persons[1]["keys"] = [world.key_entry("budi", **changes)]
    return world.read(chain_of(persons=persons))


@pytest.mark.parametrize(
    "changes",
    [
        {"nbf": NOW + DAY}, {"lifetime": 40 * DAY}, {"revoked_at": instant(NOW)}, {"revoked_at": instant(ISSUED_AT)},
    ],
)  # fmt: skip
def test_a_key_not_yet_no_longer_or_revoked_does_not_count(changes: Json) -> None:
    assert _refused(GOOD, _root_with(**changes)) == Code.PERSON_KEY_INVALID


def test_a_backdated_act_does_not_outlive_the_key_where_the_time_is_known() -> None:
    root = _root_with(lifetime=NOW - ISSUED_AT + 10 * DAY)
    assert read_act(GOOD, TYP, root, persons=2, now=NOW).signers == {"sari", "budi"}
    assert _refused(GOOD, root, now=NOW + 20 * DAY) == Code.PERSON_KEY_INVALID


def test_a_person_who_is_gone_from_the_next_root_document_signs_nothing_more() -> None:
    persons = root_document()["persons"]
    root = world.read(extend(chain_of(), persons=[persons[0], persons[2]]))
    assert _refused(GOOD, root) == Code.PERSON_UNKNOWN


def test_an_act_of_another_environment_or_time_is_refused() -> None:
    assert _refused(_signed("sari", "budi", environment="production")) == Code.ACT_OF_OTHER_ENVIRONMENT
    assert _refused(_signed("sari", "budi", issued_at="yesterday")) == Code.ACT_MALFORMED
    assert _refused(_signed("sari", "budi", issued_at=instant(ISSUED_AT - timedelta(seconds=1)))) == (
        Code.PERSON_KEY_INVALID
    )


def test_one_kind_of_act_does_not_pass_for_another() -> None:
    assert _refused(write_act(PAYLOAD, "tkahub-registry+jws", *TWO)) == Code.ACT_SIGNATURE_INVALID
    mixed = read_object(GOOD)
    mixed["signatures"][0] = read_object(write_act(PAYLOAD, "tkahub-registry+jws", TWO[0]))["signatures"][0]
    assert _refused(write_json(mixed)) == Code.ACT_SIGNATURE_INVALID


def test_a_signature_of_another_payload_or_key_is_refused() -> None:
    other = read_object(_signed("sari", "budi", case="TKA/2026/2"))
    signed = read_object(GOOD)
    assert _refused(write_json(signed | {"payload": other["payload"]})) == Code.ACT_SIGNATURE_INVALID
    sari, budi = signed["signatures"]
    swapped = [{**sari, "signature": budi["signature"]}, budi]
    assert _refused(write_json(signed | {"signatures": swapped})) == Code.ACT_SIGNATURE_INVALID


def test_a_header_names_the_algorithm_of_the_key_and_nothing_else() -> None:
    signed = read_object(GOOD)
    for header in ({"alg": "ES256"}, {"alg": "none"}, {"kid": 1}, {"crit": ["b64"], "b64": False}):
        protected = {"alg": "Ed25519", "kid": TWO[0].kid, "typ": TYP, **header}
        encoded = base64url.encode(write_json(protected))
        signature = base64url.encode(TWO[0].sign(f"{encoded}.{signed['payload']}".encode()))
        changed = [{"protected": encoded, "signature": signature}, signed["signatures"][1]]
        assert _refused(write_json(signed | {"signatures": changed})) in {
            Code.ACT_SIGNATURE_INVALID, Code.PERSON_UNKNOWN,
        }  # fmt: skip


def test_too_large_an_act_is_not_read() -> None:
    assert _refused(b" " * ACT_BYTES_MAX + GOOD) == Code.ACT_MALFORMED


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_one_changed_byte_is_never_read(place: int, change: int) -> None:
    changed = bytearray(GOOD)
    changed[place] ^= change
    with pytest.raises(RegistryError):
        read_act(bytes(changed), TYP, ROOT_IN_FORCE, persons=2)
