"""Vectors of the registry document, and of what a recipient asks of a recommendation."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from tests.contracts import root_world, vector_proofs
from tests.contracts import vector_world as world
from tests.contracts.root_world import NEXT_ROOT, PERSONS
from tests.contracts.vector_signatures import vector
from tests.contracts.vector_world import DAY, KEYS, NOW, OTHER_ROOT, ROOT, Json

FIELD_PRIME = 2**255 - 19
ORDER_8_Y = 2707385501144840649318225287225658788936804267575313519463743609750303021022


def _documents(name: str, why: str, documents: list[str], code: str | None = None) -> Json:
    expect = "accept" if code is None else "refuse"
    return {"name": f"registry: {name}", "why": why, "documents": documents, "expect": expect, "code": code}


def registries() -> dict[str, str]:
    """Give the registry documents that vectors name."""
    revoked = world.document() | {"version": 8, "issued_at": world.instant(NOW)}
    world.party(revoked, "bri")["keys"][0]["revoked_at"] = world.instant(NOW)
    joined = world.document() | {"version": 8}
    world.party(joined, "bri")["keys"].append(world.key_entry("stranger"))
    documents = {
        "base": world.document(),
        "bri-1 revoked": revoked,
        "stranger joined": joined,
        "proof required": vector_proofs.registry(),
    }
    return {name: world.signed(document) for name, document in documents.items()}


def signatures() -> Iterator[Json]:
    """Is the document in the form in which persons sign, do its signatures verify, and is it JSON all read alike?"""
    base = world.document()
    payload, good = world.compact(base), world.signed(base)
    signed = json.loads(good)
    first, second = signed["signatures"]
    invalid, malformed = "registry_signature_invalid", "registry_malformed"

    def bad(name: str, code: str, document: str, why: str = "") -> Json:
        return _documents(name, why, [document], code)

    def changed(**members: Any) -> str:
        return world.compact({**signed, **members}).decode()

    yield _documents("as it should be", "", [good])
    yield _documents("with a space", "the bytes may differ, the payload may not", [good.replace(":", ": ", 1)])
    swapped = [{**first, "signature": second["signature"]}, second]
    yield bad("another's signature", invalid, changed(signatures=swapped))
    yield bad("typ of an event", invalid, world.signed_unchecked(payload, typ="tkahub-event+jws"))
    yield bad("typ of a root document", invalid, world.signed_unchecked(payload, typ="tkahub-root+jws"))
    yield bad("no typ", invalid, world.signed_unchecked(payload, typ=None))
    yield bad("alg none", invalid, world.signed_unchecked(payload, alg="none"))
    yield bad("an extra member of P", invalid, world.signed_unchecked(payload, b64=True))
    newer = payload.replace(b'"version":7', b'"version":8')
    yield bad("payload changed", invalid, changed(payload=base64url.encode(newer)))
    header = base64url.encode(world.compact({"alg": ROOT.alg, "kid": ROOT.kid, "typ": "tkahub-registry+jws"}))
    body = f"{header}.{base64url.encode(payload)}"
    compact = f"{body}.{base64url.encode(ROOT.sign(body.encode()))}"
    yield bad("a compact JWS by the root key", malformed, compact, "the root key names persons, and signs no registry")
    yield bad("no signature", malformed, changed(signatures=[]))
    yield bad("an unprotected header", malformed, changed(signatures=[{**first, "header": {}}, second]))
    yield bad("a member more", malformed, changed(note=""))
    yield bad("padded", malformed, changed(payload=signed["payload"] + "=="))
    yield bad("a member twice outside", malformed, good[:-1] + ',"payload":""}')
    yield bad("a member twice", malformed, world.signed_unchecked(payload[:-1] + b',"version":9}'))
    yield bad("byte order mark", malformed, world.signed_unchecked(b"\xef\xbb\xbf" + payload))
    yield bad("an unknown member", malformed, world.signed_unchecked(world.compact(base | {"note": ""})))
    yield bad(
        "another format", malformed, world.signed_unchecked(world.compact(base | {"format": "tkahub-registry/2"}))
    )
    yield bad("version a string", malformed, world.signed_unchecked(world.compact(base | {"version": "7"})))
    yield bad("no time", malformed, world.signed_unchecked(world.compact(base | {"issued_at": "yesterday"})))
    without = world.compact({k: v for k, v in base.items() if k != "limits"})
    yield bad("no limits", malformed, world.signed_unchecked(without))
    twins = world.document()
    world.party(twins, "mandiri")["sources"].append(world.BRI)
    yield bad("one source for two", malformed, world.signed_unchecked(world.compact(twins)))
    twins = world.document()
    twins["participants"].append({**world.party(twins, "mandiri"), "keys": [], "sources": [], "bank_code": None})
    yield bad("one participant twice", malformed, world.signed_unchecked(world.compact(twins)))


def persons() -> Iterator[Json]:
    """How many distinct persons signed, each with a key that counts?"""
    payload = world.compact(world.document())

    def signed(name: str, code: str | None, *who: str, why: str = "", **options: Any) -> Json:
        keys = [PERSONS[one] for one in who]
        document = world.signed_unchecked(payload, persons=keys, **options)
        return _documents(f"signed by {name}", why, [document], code)

    def listed(**key: Any) -> list[Json]:
        sari, _, wayan = root_world.root_document()["persons"]
        budi = {"id": "budi", "name": "Budi", "may_suspend": True, "keys": [root_world.key_entry("budi", **key)]}
        return root_world.chain_of(persons=[sari, budi, wayan])

    few, invalid = "persons_too_few", "person_key_invalid"
    once = "one person counts once"
    yield signed("one person", few, "sari")
    yield signed("one key twice", few, "sari", "sari", why=once)
    yield signed("two keys of one person", few, "sari", "sari-2", why=once)
    yield signed("two keys of one person and another person", None, "sari", "sari-2", "wayan")
    yield signed("two where three must", few, "sari", "budi", roots=root_world.chain_of(threshold=3))
    yield signed("three where three must", None, "sari", "budi", "wayan", roots=root_world.chain_of(threshold=3))
    yield signed("two and somebody who is not listed", "person_unknown", "sari", "budi", "nobody")
    yield signed("a key that is revoked", invalid, "sari", "budi", roots=listed(revoked_at=world.instant(NOW - DAY)))
    yield signed("a key that has expired", invalid, "sari", "budi", roots=listed(lifetime=DAY))
    yield signed("a key that is not valid yet", invalid, "sari", "budi", roots=listed(nbf=NOW))
    yield _documents(
        "signed by message keys", "", [world.signed_unchecked(payload, persons=[KEYS["bri-1"], KEYS["bri-2"]])],
        "person_unknown",
    )  # fmt: skip
    yield _documents(
        "signed by the root key and one person", "the root key names persons and is none",
        [world.signed_unchecked(payload, persons=[ROOT, PERSONS["sari"]])], "person_unknown",
    )  # fmt: skip
    shared = world.document()
    entry = {**world.key_entry("stranger"), "kid": PERSONS["sari"].kid, "jwk": dict(PERSONS["sari"].public.jwk)}
    world.party(shared, "bri")["keys"].append(entry)
    yield _documents(
        "a person's key is a participant's", "who holds it could be both",
        [world.signed_unchecked(world.compact(shared))], "registry_key_invalid",
    )  # fmt: skip


def roots() -> Iterator[Json]:
    """Does an unbroken chain of root documents lead from the pinned root key to the persons?"""
    document = world.document()
    payload, first = world.compact(document), root_world.chain_of()
    rotated = root_world.extend(first, ROOT, NEXT_ROOT, root=dict(NEXT_ROOT.public.jwk))

    def under(name: str, code: str | None, chain: object, why: str = "", pinned: PrivateKey = ROOT) -> Json:
        made = _documents(f"root: {name}", why, [world.signed_unchecked(payload, roots=chain)], code)
        return made if pinned is ROOT else {**made, "root": dict(pinned.public.jwk)}

    broken = "root_chain_broken"
    yield under("rotated, the old key pinned", None, rotated)
    yield under("rotated, the new key pinned", None, rotated, pinned=NEXT_ROOT)
    yield under("before the rotation, the new key pinned", "root_not_pinned", first, pinned=NEXT_ROOT)
    yield under("of a stranger", "root_not_pinned", root_world.chain_of(OTHER_ROOT))
    yield under("rotated without the old key", broken, root_world.extend(
        first, NEXT_ROOT, root=dict(NEXT_ROOT.public.jwk)))  # fmt: skip
    yield under("rotated without the new key", broken, root_world.extend(
        first, ROOT, root=dict(NEXT_ROOT.public.jwk)))  # fmt: skip
    yield under("a gap", broken, root_world.extend(first, version=3))
    yield under("without its beginning", broken, rotated[1:])
    yield under("twice the same", broken, [*first, *first])
    yield under("another past", broken, [root_world.chain_of(threshold=3)[0], rotated[1]], pinned=NEXT_ROOT)
    yield under("of another environment", "act_of_other_environment", root_world.chain_of(environment="production"))
    yield under("none", "root_malformed", [])
    unsigned = {**first[0], "signatures": []}
    yield under("not signed", "act_malformed", [unsigned])
    forged = {**first[0], "payload": base64url.encode(world.compact(root_world.root_document(threshold=3)))}
    yield under("changed", "act_signature_invalid", [forged])
    entry, others = root_world.key_entry("wayan"), root_world.root_document()["persons"][:2]
    for name, owner in (("a revocation is taken back", "wayan"), ("a key changes hands", "putu")):
        revoked = {**entry, "revoked_at": world.instant(NOW - DAY) if owner == "wayan" else None}
        before, then = (
            [*others, {"id": person, "name": person, "may_suspend": False, "keys": [key]}]
            for person, key in (("wayan", revoked), (owner, entry))
        )
        yield under(name, broken, root_world.extend(root_world.chain_of(persons=before), persons=then))
    named = world.compact(document | {"root": root_world.read(first).sha256})
    bound = "roots stands outside of what persons sign"
    for name, code, chain in (
        ("the document names it", None, first),
        ("the document was signed under the one before", "root_rollback", rotated),
    ):
        documents = [world.signed_unchecked(named, roots=chain)]
        yield _documents(f"root: {name}", bound, documents, code)
    newer = world.compact(document | {"version": 8})
    for name, chain, code in (
        ("grows", rotated, None),
        ("is older than the one in force", first, "root_rollback"),
        ("is not the one in force", root_world.extend(first, issued_at=world.instant(NOW - DAY)), "root_rollback"),
    ):
        before = first if code is None else rotated
        documents = [world.signed_unchecked(payload, roots=before), world.signed_unchecked(newer, roots=chain)]
        yield _documents(f"root: chain {name}", "", documents, code)


def _with_key(change: Json | None = None, **jwk: Any) -> str:
    document = world.document()
    entry = world.party(document, "bri")["keys"][0]
    entry["jwk"].update(jwk)
    entry.update(change or {})
    return world.signed_unchecked(world.compact(document))


def _point(y: int, sign: int = 0) -> str:
    raw = (y | sign << 255).to_bytes(32, "little")
    return _with_key({"kid": _thumbprint(base64url.encode(raw))}, x=base64url.encode(raw))


def _thumbprint(x: str) -> str:
    return base64url.encode(sha256(world.compact({"crv": "Ed25519", "kty": "OKP", "x": x})).digest())


def keys() -> Iterator[Json]:
    """Keys that must not stand in a registry."""

    def bad(name: str, document: str, why: str = "") -> Json:
        return _documents(f"key {name}", why, [document], "registry_key_invalid")

    small = "any signature verifies for almost any message"
    for name, y in {"the identity": 1, "of order 2": FIELD_PRIME - 1, "of order 4": 0, "of order 8": ORDER_8_Y,
                    "of order 8, the other": FIELD_PRIME - ORDER_8_Y}.items():  # fmt: skip
        for sign in (0, 1):
            yield bad(f"of small order: {name}, sign {sign}", _point(y, sign), small)
    yield bad("y = p, not canonical", _point(FIELD_PRIME), small)
    yield bad("y = p + 1, not canonical", _point(FIELD_PRIME + 1), small)
    yield bad("no point of the curve", _point(2))
    yield bad("kid of another", _with_key({"kid": KEYS["bri-2"].kid}))
    yield bad("alg of another", _with_key({"alg": "ES256"}))
    yield bad("x padded", _with_key(x=KEYS["bri-1"].public.jwk["x"] + "="))
    yield bad("x of 31 bytes", _with_key(x=base64url.encode(bytes(31))))
    yield bad("with its private part", _with_key(d=base64url.encode(bytes(32))))
    yield bad("an RSA key", _with_key(kty="RSA"))
    yield bad("X25519", _with_key(crv="X25519"))
    yield bad("exp before nbf", _with_key({"exp": world.instant(NOW - 31 * DAY)}))
    document = world.document()
    world.party(document, "mandiri")["keys"].append(world.key_entry("bri-1"))
    yield bad("of two participants", world.signed_unchecked(world.compact(document)))
    document = world.document()
    world.party(document, "bri")["keys"].append(world.key_entry("bri-1", use="api"))
    yield bad("twice, for two uses", world.signed_unchecked(world.compact(document)))
    document = world.document()
    entry = world.party(document, "mandiri")["keys"][0]
    entry["jwk"]["y"] = entry["jwk"]["x"]
    yield bad("off P-256", world.signed_unchecked(world.compact(document)))


def successors() -> Iterator[Json]:
    """One document after another: the version rises and history is only added to."""

    def after(name: str, code: str | None, *, why: str = "", **changes: Any) -> Json:
        document = world.document() | {"version": 8} | changes
        return _documents(name, why, [world.signed(world.document()), world.signed(document)], code)

    def edited(name: str, code: str | None, edit: Any) -> Json:
        document = world.document() | {"version": 8}
        edit(document)
        return _documents(name, "", [world.signed(world.document()), world.signed(document)], code)

    yield after("the next version", None)
    yield after("the same version", "registry_rollback", version=7)
    yield after("an older version", "registry_rollback", version=6)
    yield after("another environment", "registry_rollback", environment="production")
    yield after("issued before", "registry_rollback", issued_at=world.instant(NOW - 2 * DAY))
    yield after("another log", "registry_rollback", log_origin="hub.example/other")
    lost = "registry_history_lost"
    suspension = {"kid": KEYS["bri-1"].kid, "suspension": "0" * 64}
    lifted = [world.signed(world.document() | {"lifted": [suspension]})]
    yield after("a suspension is lifted", None, lifted=[suspension])
    yield _documents(
        "a lifted suspension is back", "", [*lifted, world.signed(world.document() | {"version": 8})], lost
    )
    yield edited("a key is gone", lost, lambda d: world.party(d, "bri")["keys"].pop(2))
    yield edited("a participant is gone", lost, lambda d: d["participants"].pop(1))
    yield edited(
        "a key changes hands",
        lost,
        lambda d: world.party(d, "mandiri")["keys"].append(world.party(d, "bri")["keys"].pop(1)),
    )
    yield edited("a key changes its use", lost, lambda d: world.party(d, "bri")["keys"][5].update(use="message"))
    yield edited("a revocation is taken back", lost, lambda d: world.party(d, "bri")["keys"][4].update(revoked_at=None))
    yield edited(
        "a revocation is put off",
        lost,
        lambda d: world.party(d, "bri")["keys"][4].update(revoked_at=world.instant(NOW)),
    )
    yield edited("a contract changes", lost, lambda d: d["contracts"][0].update(sha256="0" * 64))
    yield edited("a contract is gone", lost, lambda d: d["contracts"].pop(0))
    yield edited("a rule set changes", lost, lambda d: d["rule_sets"][0].update(sha256="0" * 64))
    yield edited("a topic loses a partition", lost, lambda d: d["topics"].update({"from.bri": 1}))
    yield edited("recommendations gain a partition", lost, lambda d: d["topics"].update({"recommendations": 2}))
    yield edited("a topic gains a partition", None, lambda d: d["topics"].update({"from.bri": 4}))
    yield edited(
        "a key is revoked", None, lambda d: world.party(d, "bri")["keys"][0].update(revoked_at=world.instant(NOW))
    )
    yield edited("a key joins", None, lambda d: world.party(d, "bri")["keys"].append(world.key_entry("stranger")))


def deliveries() -> Iterator[Json]:
    """What relay and recipient ask of a recommendation."""
    content = world.recommendation_value()
    jws = world.recommendation_jws(content)
    plain = [["content-type", world.CONTENT_TYPE], ["jws", jws], ["hub-seq", "1"]]

    def got(name: str, registry: str, headers: list[list[str]], code: str | None = None, why: str = "") -> Json:
        record = world.record(
            content,
            None,
            headers=headers,
            topic="recommendations",
            expect="accept" if code is None else "refuse",
            code=code,
        )
        return vector(f"recommendation: {name}", why, record, registry=registry)

    yield got("without proof where none is required", "base", plain)
    yield got(
        "without proof where one is required", "proof required", plain, "proof_missing", "not released, not taken"
    )
    event = [plain[0], ["jws", world.recommendation_jws(content, "tkahub-event+jws")], plain[2]]
    yield got("under the typ of an event", "base", event, "jws_typ_wrong", "swapped")
    batch = world.batch_jws(
        world.compact(world.statement([content], iss=world.HUB, aud="demo/recommendations/0")), KEYS["hub-1"]
    )
    yield got(
        "in a batch", "base", [plain[0], ["jws", batch], ["jws-proof", "0."]], "jws_typ_wrong", "always singly signed"
    )
    changed = [plain[0], ["jws", jws[:-2] + ("AA" if jws[-2:] != "AA" else "QQ")], plain[2]]
    yield got("signature changed", "base", changed, "signature_invalid")
