"""Root documents: a chain without a gap that any of its keys vouches for, and no other."""

from typing import Any

import pytest

from contracts.errors import Code, RegistryError
from contracts.root import PERSONS_MAX, ROOTS_MAX, check_extends, read_chain, read_root, sign_root, write_root
from contracts.wire import base64url
from contracts.wire.general_jws import write_json
from tests.contracts import root_world as world
from tests.contracts.root_world import NEXT_ROOT, PERSONS, chain_of, extend, root_document
from tests.contracts.vector_world import DAY, NOW, OTHER_ROOT, ROOT, Json, instant

CHAIN = chain_of()
ROTATED = extend(CHAIN, ROOT, NEXT_ROOT, root=dict(NEXT_ROOT.public.jwk))


def _refused(chain: object, pinned: Any = ROOT) -> Code:
    with pytest.raises(RegistryError) as caught:
        read_chain(chain, pinned.public)
    return caught.value.code


def test_it_names_the_persons_and_their_keys() -> None:
    root = world.read(CHAIN)
    assert (root.version, root.threshold, list(root.persons)) == (1, 2, ["sari", "budi", "wayan"])
    found = root.key_of(PERSONS["sari-2"].kid)
    assert found is not None
    assert (found[0].id, found[0].may_suspend) == ("sari", True)
    assert root.key_of(ROOT.kid) is None
    assert len(root.public_keys()) == 5


@pytest.mark.parametrize("pinned", [ROOT, NEXT_ROOT])
def test_the_old_and_the_new_pin_both_follow_a_rotation(pinned: Any) -> None:
    root = world.read(extend(ROTATED, NEXT_ROOT, threshold=3), pinned)
    assert (root.version, root.key.kid, root.threshold) == (3, NEXT_ROOT.kid, 3)


def test_the_new_pin_does_not_take_what_was_before_the_rotation() -> None:
    assert _refused(CHAIN, NEXT_ROOT) == Code.ROOT_NOT_PINNED


def test_a_stranger_is_not_pinned() -> None:
    assert _refused(chain_of(OTHER_ROOT)) == Code.ROOT_NOT_PINNED


@pytest.mark.parametrize(
    ("keys", "root"),
    [
        pytest.param((NEXT_ROOT,), NEXT_ROOT, id="not signed by the one before"),
        pytest.param((ROOT,), NEXT_ROOT, id="not signed by its own key"),
        pytest.param((OTHER_ROOT,), OTHER_ROOT, id="signed by a stranger"),
        pytest.param((PERSONS["sari"], PERSONS["budi"]), ROOT, id="signed by two persons"),
    ],
)
def test_a_successor_needs_the_key_before_and_its_own(keys: Any, root: Any) -> None:
    assert _refused(extend(CHAIN, *keys, root=dict(root.public.jwk))) == Code.ROOT_CHAIN_BROKEN


@pytest.mark.parametrize(
    "changes", [{"version": 3}, {"version": 1, "previous": None}, {"previous": "0" * 64}, {"environment": "other"},
                {"issued_at": "2019-01-01T00:00:00Z"}],
)  # fmt: skip
def test_a_gap_a_rollback_another_past_or_environment_breaks_the_chain(changes: Json) -> None:
    assert _refused(extend(CHAIN, **changes)) == Code.ROOT_CHAIN_BROKEN


def test_a_chain_without_its_beginning_is_broken() -> None:
    assert _refused(ROTATED[1:]) == Code.ROOT_CHAIN_BROKEN
    assert _refused([ROTATED[0], ROTATED[0]]) == Code.ROOT_CHAIN_BROKEN


def test_a_thief_of_the_old_key_cannot_put_another_past_under_the_new_one() -> None:
    other = chain_of(threshold=3)
    assert _refused([other[0], ROTATED[1]], NEXT_ROOT) == Code.ROOT_CHAIN_BROKEN


def test_a_root_key_that_was_given_up_never_comes_back() -> None:
    back = extend(ROTATED, NEXT_ROOT, ROOT, root=dict(ROOT.public.jwk))
    assert _refused(back) == Code.ROOT_CHAIN_BROKEN


def test_no_chain_in_force_is_left_for_a_shorter_or_another() -> None:
    old, new = (read_chain(chain, ROOT.public) for chain in (CHAIN, ROTATED))
    check_extends(old, old)
    check_extends(old, new)
    for chain in (CHAIN, extend(CHAIN, threshold=3), chain_of(threshold=3)):
        with pytest.raises(RegistryError) as caught:
            check_extends(new, read_chain(chain, ROOT.public))
        assert caught.value.code == Code.ROOT_ROLLBACK


def _persons(**changes: Any) -> list[Json]:
    first, *others = root_document()["persons"]
    return [first | changes, *others]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"threshold": 1}, Code.ROOT_MALFORMED),
        ({"threshold": 4}, Code.ROOT_MALFORMED),
        ({"threshold": True}, Code.ROOT_MALFORMED),
        ({"note": ""}, Code.ROOT_MALFORMED),
        ({"previous": "0" * 64}, Code.ROOT_MALFORMED),
        ({"version": 2}, Code.ROOT_MALFORMED),
        ({"persons": root_document()["persons"][:1]}, Code.ROOT_MALFORMED),
        ({"persons": _persons(id="budi")}, Code.ROOT_MALFORMED),
        ({"persons": _persons() * PERSONS_MAX}, Code.ROOT_MALFORMED),
        ({"persons": _persons(keys=[])}, Code.ROOT_MALFORMED),
        ({"persons": _persons(keys=[world.key_entry("budi")])}, Code.REGISTRY_KEY_INVALID),
        ({"persons": _persons(keys=[world.key_entry("sari"), world.key_entry("sari")])}, Code.REGISTRY_KEY_INVALID),
        ({"persons": _persons(keys=[world.key_entry("sari", kid=ROOT.kid)])}, Code.REGISTRY_KEY_INVALID),
        ({"persons": _persons(keys=[world.key_entry("sari", alg="ES256")])}, Code.REGISTRY_KEY_INVALID),
        ({"persons": _persons(keys=[world.key_entry("sari", lifetime=0 * DAY)])}, Code.REGISTRY_KEY_INVALID),
        ({"root": dict(PERSONS["sari"].public.jwk)}, Code.REGISTRY_KEY_INVALID),
        ({"root": {**ROOT.public.jwk, "kid": ROOT.kid}}, Code.REGISTRY_KEY_INVALID),
        ({"root": {"kty": "RSA"}}, Code.REGISTRY_KEY_INVALID),
    ],
)  # fmt: skip
def test_what_cannot_be_a_root_document_is_not_signed(changes: Json, code: Code) -> None:
    with pytest.raises(RegistryError) as caught:
        write_root(root_document(**changes), ROOT)
    assert caught.value.code == code


def _with(person: str, **key: Any) -> Json:
    entry = world.key_entry("sari", **key)
    return {"id": person, "name": person.title(), "may_suspend": True, "keys": [entry, world.key_entry("sari-2")]}


@pytest.mark.parametrize(
    "between", [[], [{"persons": root_document()["persons"][1:]}]], ids=["at once", "after a pause"]
)
@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param({"revoked_at": instant(NOW)}, _with("sari"), id="a revocation is taken back"),
        pytest.param(
            {"revoked_at": instant(NOW)}, _with("sari", revoked_at=instant(NOW + DAY)), id="a revocation is put off"
        ),
        pytest.param({}, _with("putu"), id="a key changes hands"),
    ],
)
def test_a_later_root_document_gives_no_key_back(first: Json, then: Json, between: list[Json]) -> None:
    others = root_document()["persons"][1:]
    chain = chain_of(persons=[_with("sari", **first), *others])
    for changes in between:
        chain = extend(chain, **changes)
    assert _refused(extend(chain, persons=[then, *others])) == Code.ROOT_CHAIN_BROKEN
    kept = read_chain(extend(chain, persons=[_with("sari", **first), *others]), ROOT.public)
    assert kept[-1].persons["sari"].keys[0].revoked_at == kept[0].persons["sari"].keys[0].revoked_at


def test_a_key_is_a_person_s_or_a_root_s_in_the_whole_chain() -> None:
    others = root_document()["persons"][1:]
    rotated = extend(extend(CHAIN, persons=others), ROOT, PERSONS["sari"], root=dict(PERSONS["sari"].public.jwk))
    assert _refused(rotated) == Code.ROOT_CHAIN_BROKEN


def test_one_private_key_does_not_make_two_persons() -> None:
    twin = world.twin_of("budi")
    assert twin.kid != PERSONS["budi"].kid
    keys = [world.key_entry("budi", kid=twin.kid, jwk=dict(twin.public.jwk))]
    with pytest.raises(RegistryError) as caught:
        write_root(root_document(persons=_persons(keys=keys)), ROOT)
    assert caught.value.code == Code.REGISTRY_KEY_INVALID


@pytest.mark.parametrize(
    "chain",
    [
        None, {}, [], "x", [1], [{}], [CHAIN[0]] * (ROOTS_MAX + 1), [{**CHAIN[0], "header": {}}],
        [{**CHAIN[0], "payload": CHAIN[0]["payload"] + "="}], [{**CHAIN[0], "payload": 1}],
        [{**CHAIN[0], "payload": "\ud800"}], [{**CHAIN[0], "signatures": []}],
        [{**CHAIN[0], "signatures": CHAIN[0]["signatures"] * 33}], [{**CHAIN[0], "signatures": ["x"]}],
        [{**CHAIN[0], "signatures": [CHAIN[0]["signatures"][0] | {"header": {}}]}],
        [{**CHAIN[0], "payload": base64url.encode(b"[]")}],
    ],
)  # fmt: skip
def test_another_form_is_refused(chain: object) -> None:
    assert _refused(chain) in {Code.ROOT_MALFORMED, Code.ACT_MALFORMED}


def test_a_changed_payload_is_refused() -> None:
    changed = write_json(root_document(threshold=3))
    assert _refused([{**CHAIN[0], "payload": base64url.encode(changed)}]) == Code.ACT_SIGNATURE_INVALID


def test_signatures_are_gathered_one_at_a_time_and_a_second_of_one_key_replaces_the_first() -> None:
    document = read_root(root_document()).document
    signed = sign_root(sign_root(write_root(document), ROOT), ROOT)
    assert signed == CHAIN[0]
