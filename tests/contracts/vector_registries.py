"""Vectors of the registry document, and of what a recipient asks of a recommendation."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from contracts.wire import base64url
from tests.contracts import vector_proofs
from tests.contracts import vector_world as world
from tests.contracts.vector_signatures import vector
from tests.contracts.vector_world import DAY, KEYS, NOW, ROOT, Json

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
    """Who signed the document, and is it JSON that all read alike?"""
    base = world.document()
    payload, good = world.compact(base), world.signed(base)
    head, _, sig = good.split(".")
    newer = payload.replace(b'"version":7', b'"version":8')
    alg, kid = ROOT.alg, ROOT.kid

    def bad(name: str, code: str, document: str, why: str = "") -> Json:
        return _documents(name, why, [document], code)

    def under(header: Json) -> str:
        return world.signed_unchecked(payload, header=header)

    yield _documents("as it should be", "", [good])
    yield bad("another root", "registry_signature_invalid", world.signed(base, world.OTHER_ROOT))
    yield bad(
        "the root's kid, another's signature",
        "registry_signature_invalid",
        world.signed_unchecked(payload, world.OTHER_ROOT, {"alg": alg, "kid": kid, "typ": "tkahub-registry+jws"}),
    )
    yield bad("signed by a message key", "registry_signature_invalid", world.signed_unchecked(payload, KEYS["bri-1"]))
    yield bad(
        "typ of an event", "registry_signature_invalid", under({"alg": alg, "kid": kid, "typ": "tkahub-event+jws"})
    )
    yield bad("no typ", "registry_signature_invalid", under({"alg": alg, "kid": kid}))
    yield bad(
        "alg none", "registry_signature_invalid", under({"alg": "none", "kid": kid, "typ": "tkahub-registry+jws"})
    )
    yield bad(
        "an extra member of P",
        "registry_signature_invalid",
        under({"alg": alg, "kid": kid, "typ": "tkahub-registry+jws", "b64": True}),
    )
    yield bad("payload changed", "registry_signature_invalid", f"{head}.{base64url.encode(newer)}.{sig}")
    yield bad("detached", "registry_malformed", f"{head}.{sig}")
    yield bad("padded", "registry_malformed", f"{good}==")
    yield bad("a member twice", "registry_malformed", world.signed_unchecked(payload[:-1] + b',"version":9}'))
    yield bad("byte order mark", "registry_malformed", world.signed_unchecked(b"\xef\xbb\xbf" + payload))
    yield bad("an unknown member", "registry_malformed", world.signed_unchecked(world.compact(base | {"note": ""})))
    yield bad(
        "another format",
        "registry_malformed",
        world.signed_unchecked(world.compact(base | {"format": "tkahub-registry/2"})),
    )
    yield bad("version a string", "registry_malformed", world.signed_unchecked(world.compact(base | {"version": "7"})))
    yield bad(
        "no limits",
        "registry_malformed",
        world.signed_unchecked(world.compact({k: v for k, v in base.items() if k != "limits"})),
    )
    twins = world.document()
    world.party(twins, "mandiri")["sources"].append(world.BRI)
    yield bad("one source for two", "registry_malformed", world.signed_unchecked(world.compact(twins)))
    twins = world.document()
    twins["participants"].append({**world.party(twins, "mandiri"), "keys": [], "sources": [], "bank_code": None})
    yield bad("one participant twice", "registry_malformed", world.signed_unchecked(world.compact(twins)))


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
    yield after("another log", "registry_rollback", log_origin="hub.example/other")
    lost = "registry_history_lost"
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
