"""Vectors of the signature layer: headers, single signatures, batches. For both algorithms where it matters."""

import hmac
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from contracts import merkle
from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from contracts.wire.signature import TYP_BATCH, TYP_EVENT, TYP_RECOMMENDATION
from tests.contracts import vector_world as world
from tests.contracts.vector_world import KEYS, Json

JOSE_TYPES = ("JWT", "JOSE", "jose", "TKAHUB-EVENT+JWS", "tkahub-registry+jws", "", "tkahub-event+jws ")


def vector(name: str, why: str, *records: Json, registry: str = "base") -> Json:
    """Make a vector whose verdict is that of its last record."""
    last = records[-1]
    return {
        "name": name, "why": why, "registry": registry, "expect": last["expect"], "code": last["code"],
        "records": list(records),
    }  # fmt: skip


def refused(name: str, why: str, code: str, content: bytes | None, jws: str | None, *rest: Any, **changes: Any) -> Json:
    """Make a vector of one record that is refused."""
    return vector(name, why, world.record(content, jws, *rest, expect="refuse", code=code, **changes))


class _Bank:
    """One bank: its name, algorithm, message key, topic, and how it writes a value."""

    def __init__(self, alg: str) -> None:
        self.alg = alg
        self.name, key = ("bri", "bri-1") if alg == "Ed25519" else ("mandiri", "mandiri-1")
        self.key: PrivateKey = KEYS[key]
        self.stranger = KEYS["stranger" if alg == "Ed25519" else "es256-stranger"]
        self.write = world.value if alg == "Ed25519" else world.mandiri_value
        self.at: dict[str, Any] = {"topic": f"from.{self.name}"}
        self.says = {"iss": f"https://{self.name}.example/tka", "aud": f"demo/from.{self.name}"}

    def values(self, size: int) -> list[bytes]:
        return [self.write(sequence) for sequence in range(1, size + 1)]

    def batch(self, values: list[bytes], **changes: Any) -> str:
        said = world.statement(values, **{**self.says, **changes})
        return world.batch_jws(world.compact(said), self.key)


BANKS = (_Bank("Ed25519"), _Bank("ES256"))


def accepted_singles() -> Iterator[Json]:
    """P is any JSON text of exactly its members."""
    for bank in BANKS:
        content, kid, alg = bank.write(1), bank.key.kid, bank.alg
        spellings = {
            "": world.protected(bank.key),
            "P in another order": world.compact({"typ": TYP_EVENT, "kid": kid, "alg": alg}),
            "P with white space": f'{{\n\t"kid" : "{kid}",\r\n "alg": "{alg}" , "typ":"{TYP_EVENT}"\n}} '.encode(),
            "P with escapes": f'{{"\\u0061lg":"{alg}","kid":"{kid}","typ":"tkahub-event\\u002bjws"}}'.encode(),
        }
        for spelling, header in spellings.items():
            name = f"{alg} single {spelling}".strip()
            jws = world.seal(header, content, bank.key)
            yield vector(name, "a valid detached signature", world.record(content, jws, **bank.at))


def refused_headers() -> Iterator[Json]:
    """The record's headers, each once and no others that confuse."""
    content, key = world.value(1), KEYS["bri-1"]
    jws = world.single(content, key)
    good = [["content-type", world.CONTENT_TYPE], ["jws", jws]]

    def bad(name: str, code: str, headers: list[list[str]], why: str = "") -> Json:
        return refused(f"headers: {name}", why, code, content, None, headers=headers)

    yield bad("none", "header_missing", [])
    yield bad("no content-type", "header_missing", good[1:])
    yield bad("signature stripped", "header_missing", good[:1])
    yield bad("two jws", "header_duplicate", [*good, good[1]])
    yield bad(
        "two jws, the second another's", "header_duplicate", [*good, ["jws", world.single(content, KEYS["stranger"])]]
    )
    yield bad("two content-type", "header_duplicate", [good[0], *good])
    yield bad("two traceparent", "header_duplicate", [*good, ["traceparent", "a"], ["traceparent", "b"]])
    yield bad("plain JSON", "header_invalid", [["content-type", "application/json"], good[1]])
    yield bad("no charset", "header_invalid", [["content-type", "application/cloudevents+json"], good[1]])
    yield bad(
        "batch of CloudEvents",
        "header_invalid",
        [["content-type", "application/cloudevents-batch+json; charset=UTF-8"], good[1]],
    )
    yield bad("ce_id", "header_forbidden", [*good, ["ce_id", "e-1"]], "mode confusion")
    yield bad("ce_type", "header_forbidden", [["ce_type", "x"], *good], "mode confusion")
    yield bad("CE_source", "header_forbidden", [*good, ["CE_source", "x"]], "mode confusion in capitals")
    yield bad("JWS beside jws", "header_forbidden", [*good, ["JWS", jws]], "a second signature in capitals")
    yield bad("Content-Type beside content-type", "header_forbidden", [*good, ["Content-Type", "text/plain"]])
    yield bad("JWS instead of jws", "header_forbidden", [good[0], ["JWS", jws]])
    yield bad("33 headers", "header_invalid", [*good, *[[f"x-{n}", ""] for n in range(31)]])
    yield bad("hub-seq no number", "header_invalid", [*good, ["hub-seq", "01"]])
    yield bad("tlog-proof empty", "header_invalid", [*good, ["tlog-proof", ""]])
    yield vector(
        "headers: traceparent and a stranger's",
        "unsigned headers change nothing",
        world.record(content, None, headers=[*good, ["traceparent", "00-1-1-00"], ["x-trace", ""]]),
    )
    yield vector("headers: another order", "", world.record(content, None, headers=good[::-1]))


def refused_protected() -> Iterator[Json]:
    """What the protected header may not say."""
    for bank in BANKS:
        content, key, alg = bank.write(1), bank.key, bank.alg
        other_alg = "ES256" if alg == "Ed25519" else "Ed25519"

        def bad(name: str, code: str, header: bytes, why: str = "", *, bank: _Bank = bank) -> Json:
            jws = world.seal(header, bank.write(1), bank.key)
            return refused(f"{bank.alg} P: {name}", why, code, bank.write(1), jws, **bank.at)

        plain = world.protected(key)
        yield bad("alg none", "jws_alg_forbidden", world.protected(key, alg="none"))
        yield bad("alg EdDSA", "jws_alg_forbidden", world.protected(key, alg="EdDSA"), "not a fully specified name")
        yield bad("alg of another key", "jws_alg_forbidden", world.protected(key, alg=other_alg))
        yield bad("alg in other case", "jws_alg_forbidden", world.protected(key, alg=alg.lower()))
        yield bad("alg null", "jws_alg_forbidden", world.protected(key, alg=None))
        yield bad("alg a list", "jws_alg_forbidden", world.protected(key, alg=[alg]))
        yield bad("kid of nobody", "key_unknown", world.protected(key, kid=bank.stranger.kid))
        yield bad("kid a path", "jws_header_invalid", world.protected(key, kid="../../keys/root"), "injection")
        yield bad("kid SQL", "jws_header_invalid", world.protected(key, kid="x' OR '1'='1"), "injection")
        yield bad("kid with a NUL", "jws_header_invalid", world.protected(key, kid=key.kid + "\0"), "injection")
        yield bad("kid with a line feed", "jws_header_invalid", world.protected(key, kid=key.kid + "\n"), "injection")
        yield bad("kid a number", "jws_header_invalid", world.protected(key, kid=1))
        yield bad("crit", "jws_header_invalid", world.protected(key, crit=["exp"], exp=1))
        yield bad("crit empty", "jws_header_invalid", world.protected(key, crit=[]))
        yield bad("b64 false", "jws_header_invalid", world.protected(key, b64=False, crit=["b64"]))
        yield bad("b64 true", "jws_header_invalid", world.protected(key, b64=True))
        yield bad("jwk", "jws_header_invalid", world.protected(key, jwk=bank.stranger.public.jwk))
        yield bad("jku", "jws_header_invalid", world.protected(key, jku="https://evil.example/jwks.json"))
        yield bad("x5u", "jws_header_invalid", world.protected(key, x5u="https://evil.example/chain.pem"))
        yield bad("x5c", "jws_header_invalid", world.protected(key, x5c=["MIIB"]))
        yield bad("cty", "jws_header_invalid", world.protected(key, cty="json"))
        yield bad("no kid", "jws_header_invalid", world.compact({"alg": alg, "typ": TYP_EVENT}))
        yield bad("no typ", "jws_header_invalid", world.compact({"alg": alg, "kid": key.kid}))
        yield bad("alg twice", "jws_header_invalid", plain[:-1] + f',"alg":"{alg}"}}'.encode())
        yield bad("alg twice, once escaped", "jws_header_invalid", plain[:-1] + f',"\\u0061lg":"{alg}"}}'.encode())
        yield bad("byte order mark", "jws_header_invalid", b"\xef\xbb\xbf" + plain)
        yield bad("not JSON", "jws_header_invalid", plain[:-1])
        yield bad("an array", "jws_header_invalid", b"[" + plain + b"]")
        yield bad("text after it", "jws_header_invalid", plain + b"{}")
        yield bad("empty", "jws_header_invalid", b"")
        for typ in JOSE_TYPES:
            yield bad(f"typ {typ!r}", "jws_typ_wrong", world.protected(key, typ))
        yield bad("typ recommendation", "jws_typ_wrong", world.protected(key, TYP_RECOMMENDATION), "swapped")
        yield bad("typ batch", "batch_proof_missing", world.protected(key, TYP_BATCH), "swapped")
        yield refused(f"{alg} P: empty, no signature", "", "jws_header_invalid", content, "..", **bank.at)


def refused_singles() -> Iterator[Json]:
    """What is wrong with the compact serialisation or the signature itself."""
    for bank in BANKS:
        content, key = bank.write(1), bank.key
        jws = world.single(content, key)
        head, _, sig = jws.split(".")

        def bad(
            name: str,
            code: str,
            jws: str,
            content: bytes = content,
            *,
            bank: _Bank = bank,
            why: str = "",
            proof: str | None = None,
        ) -> Json:
            return refused(f"{bank.alg} single: {name}", why, code, content, jws, proof, **bank.at)

        raw = base64url.decode(sig.encode()) or b""
        yield bad("one byte of the value changed", "signature_invalid", jws, content.replace(b"1200.00", b"1300.00"))
        yield bad("re-serialised", "signature_invalid", jws, content.replace(b'","', b'", "', 1))
        yield bad("a final line feed", "signature_invalid", jws, content + b"\n")
        yield bad("one bit of the signature", "signature_invalid", f"{head}..{_text(raw[:-1] + bytes([raw[-1] ^ 1]))}")
        yield bad(
            "signed by a stranger",
            "signature_invalid",
            world.seal(world.protected(key), content, bank.stranger),
            why="right kid, wrong key",
        )
        yield bad("signature empty", "signature_invalid", f"{head}..")
        yield bad("signature all zero", "signature_invalid", f"{head}..{_text(bytes(64))}")
        yield bad("signature of 63 bytes", "signature_invalid", f"{head}..{_text(raw[:63])}")
        yield bad("signature of 65 bytes", "signature_invalid", f"{head}..{_text(raw + bytes(1))}")
        yield bad("payload attached", "jws_payload_attached", f"{head}.{_text(content)}.{sig}")
        yield bad("signature padded", "jws_malformed", f"{jws}==")
        yield bad("P padded", "jws_malformed", f"{head}=..{sig}")
        yield bad("signature with a space", "jws_malformed", f"{jws} ")
        yield bad("signature with unused bits", "jws_malformed", f"{head}..{_unused_bits(sig)}")
        yield bad("signature in plain base64", "jws_malformed", f"{head}..+/{sig[2:]}")
        yield bad("two parts", "jws_malformed", f"{head}.{sig}")
        yield bad("four parts", "jws_malformed", f"{jws}.")
        yield bad("JSON serialisation", "jws_malformed", f'{{"protected":"{head}","signature":"{sig}"}}')
        yield bad("empty", "jws_malformed", "")
        yield bad("5000 characters", "jws_malformed", f"{head}..{'A' * 5000}")
        yield bad("proof on a single", "batch_proof_unexpected", jws, proof="0.")
        yield bad("the signature of another value", "signature_invalid", world.single(bank.write(2), key))


def special_singles() -> Iterator[Json]:
    """Attacks that exist for one algorithm or between participants."""
    content, mandiri = world.mandiri_value(1), KEYS["mandiri-1"]
    at = {"topic": "from.mandiri"}
    head = world.single(content, mandiri).split(".")[0]
    raw = mandiri.sign(f"{head}.{_text(content)}".encode())
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    zero_s = f"{head}..{_text(raw[:32] + bytes(32))}"
    over = (s + world.P256_ORDER).to_bytes(33, "big")
    yield refused(
        "ES256 single: DER", "", "signature_invalid", content, f"{head}..{_text(encode_dss_signature(r, s))}", **at
    )
    yield refused("ES256 single: s is 0", "", "signature_invalid", content, zero_s, **at)
    yield refused(
        "ES256 single: r and s swapped", "", "signature_invalid", content, f"{head}..{_text(raw[32:] + raw[:32])}", **at
    )
    yield refused(
        "ES256 single: s plus the order", "", "signature_invalid", content, f"{head}..{_text(raw[:32] + over)}", **at
    )
    bri_content, bri = world.value(1), KEYS["bri-1"]
    hmac = world.protected(bri, alg="HS256")
    yield refused(
        "Ed25519 P: HS256 with the public key", "", "jws_alg_forbidden", bri_content, _hs256(hmac, bri_content, bri)
    )
    yield refused(
        "single: another participant's kid",
        "mandiri's kid under bri's signature",
        "jws_alg_forbidden",
        bri_content,
        world.seal(world.protected(bri, kid=mandiri.kid), bri_content, bri),
    )
    yield refused(
        "single: a sister bank's kid, own signature",
        "ministry's kid",
        "signature_invalid",
        bri_content,
        world.seal(world.protected(bri, kid=KEYS["ministry-1"].kid), bri_content, bri),
    )
    yield refused(
        "single: a bank signs for another bank",
        "mandiri signs bri's event",
        "source_not_owned",
        bri_content,
        world.single(bri_content, mandiri),
    )
    low = _ed25519_plus_order(world.single(bri_content, bri))
    yield refused(
        "Ed25519 single: S plus the order", "a second form of the signature", "signature_invalid", bri_content, low
    )


def accepted_batches() -> Iterator[Json]:
    """Batches of 1 to 64, and what is never refused about them."""
    for bank in BANKS:
        for size, indices in ((1, (0,)), (2, (0, 1)), (3, (2,)), (7, (0, 6)), (33, (32,)), (64, (0, 31, 63))):
            values = bank.values(size)
            jws = bank.batch(values)
            for index in indices:
                proof = world.proof(index, world.path(values, index))
                record = world.record(values[index], jws, proof, **bank.at)
                yield vector(f"{bank.alg} batch {size} index {index}", "a valid batch signature and proof", record)
        values = bank.values(3)
        proof = world.proof(1, world.path(values, 1))
        for name, changes in {
            "a prev that nobody signed": {"prev": _text(b"\x07" * 32)},
            "a gap in its range": {"last": "00000000000000000009"},
            "iat with a fraction": {"iat": "2026-11-24T03:00:00.123456Z"},
        }.items():
            record = world.record(values[1], bank.batch(values, **changes), proof, **bank.at)
            yield vector(f"{bank.alg} batch: {name}", "a completeness check's finding, never refused", record)
        spaced = world.compact(dict(reversed(world.statement(values, **bank.says).items()))).replace(b",", b" ,\n")
        record = world.record(values[1], world.batch_jws(spaced, bank.key), proof, **bank.at)
        yield vector(f"{bank.alg} batch: statement in other order and spacing", "", record)


def refused_proofs() -> Iterator[Json]:
    """Paths that do not lead from the value to the root."""
    for bank in BANKS:
        values = bank.values(5)
        jws, nodes = bank.batch(values), world.path(values, 2)

        def bad(
            name: str,
            proof: str | None,
            code: str = "batch_proof_invalid",
            *,
            jws: str = jws,
            bank: _Bank = bank,
            content: bytes = values[2],
            why: str = "",
        ) -> Json:
            return refused(f"{bank.alg} proof: {name}", why, code, content, jws, proof, **bank.at)

        yield bad("missing", None, "batch_proof_missing")
        yield bad("wrong index", world.proof(3, nodes))
        yield bad("index = size", world.proof(5, nodes))
        yield bad("index 63", world.proof(63, nodes))
        yield bad("index 2^64 + 2", world.proof(2**64 + 2, nodes))
        yield bad("index with a zero", world.proof("02", nodes))
        yield bad("index with a sign", world.proof("+2", nodes))
        yield bad("index in hexadecimal", world.proof("0x2", nodes))
        yield bad("index in Arabic-Indic digits", world.proof("\u0662", nodes))
        yield bad("no index", world.proof("", nodes))
        yield bad("negative index", world.proof("-3", nodes))
        yield bad("no full stop", world.proof(2, nodes).replace(".", ""))
        yield bad("two full stops", world.proof(2, nodes).replace(".", ".."))
        yield bad("truncated", world.proof(2, nodes[:-1]))
        yield bad("empty path", "2.")
        yield bad("extended by zeros", world.proof(2, [*nodes, bytes(32)]))
        yield bad("extended by its last node", world.proof(2, [*nodes, nodes[-1]]))
        yield bad("reversed", world.proof(2, nodes[::-1]))
        yield bad("one bit changed", world.proof(2, [bytes([nodes[0][0] ^ 1]) + nodes[0][1:], *nodes[1:]]))
        yield bad("a node of 31 bytes", world.proof(2, [*nodes[:-1], nodes[-1][:-1]]))
        yield bad("garbage", "2." + "A" * 43)
        yield bad("not base64url", "2.!!!!")
        yield bad("padded", world.proof(2, nodes[:1]) + "=")
        yield bad("unused bits", "2." + _unused_bits(world.proof(2, nodes[:1])[2:]))
        yield bad("another's value", world.proof(2, nodes), content=values[1])
        yield bad("value changed", world.proof(2, nodes), content=values[2].replace(b"1200.00", b"1200.01"))
        other = bank.values(6)
        yield bad("of another batch", world.proof(2, world.path(other, 2)))
        yield bad(
            "of a single in place of the batch",
            world.proof(0, []),
            "batch_proof_unexpected",
            jws=world.single(values[2], bank.key),
        )


def refused_statements() -> Iterator[Json]:
    """Statements that are not exactly what they must be, or not this signer's."""
    hash_31 = _text(bytes(31))
    changes: dict[str, tuple[str, Json]] = {
        "no vds": ("batch_statement_invalid", {"vds": None}),
        "another vds": ("batch_statement_invalid", {"vds": "RFC9162_SHA512"}),
        "no prev": ("batch_statement_invalid", {"prev": None}),
        "an extra member": ("batch_statement_invalid", {"exp": 1}),
        "size 0": ("batch_size_invalid", {"size": 0}),
        "size 65": ("batch_size_invalid", {"size": 65, "last": "00000000000000000065"}),
        "size negative": ("batch_size_invalid", {"size": -5}),
        "size a string": ("batch_size_invalid", {"size": "5"}),
        "size a fraction": ("batch_size_invalid", {"size": 5.0}),
        "size true": ("batch_size_invalid", {"size": True}),
        "size 6 over the root of 5": ("batch_statement_invalid", {"size": 6}),
        "size 4 over the root of 5": ("batch_proof_invalid", {"size": 4}),
        "size 9 over the root of 5": ("batch_proof_invalid", {"size": 9, "last": "00000000000000000009"}),
        "last before first": ("batch_statement_invalid", {"first": "00000000000000000009"}),
        "first of 19 digits": ("batch_statement_invalid", {"first": "0000000000000000001"}),
        "first a number": ("batch_statement_invalid", {"first": 1}),
        "root of 31 bytes": ("batch_statement_invalid", {"root": hash_31}),
        "root padded": ("batch_statement_invalid", {"root": _text(bytes(32)) + "="}),
        "another root": ("batch_proof_invalid", {"root": _text(b"\x01" * 32)}),
        "prev of 31 bytes": ("batch_statement_invalid", {"prev": hash_31}),
        "iat a number": ("batch_statement_invalid", {"iat": 1795921200}),
        "iat with an offset": ("batch_statement_invalid", {"iat": "2026-11-24T10:00:00+07:00"}),
        "iat no date": ("batch_statement_invalid", {"iat": "2026-02-30T03:00:00Z"}),
        "iss another source": ("batch_statement_invalid", {"iss": world.MINISTRY}),
        "iss empty": ("batch_statement_invalid", {"iss": ""}),
        "aud another environment": ("batch_statement_invalid", {"aud": "production/from.bri"}),
    }
    for bank in BANKS:
        values = bank.values(5)
        proof = world.proof(2, world.path(values, 2))
        for name, (code, change) in changes.items():
            jws = bank.batch(values, **change)
            yield refused(f"{bank.alg} statement: {name}", "", code, values[2], jws, proof, **bank.at)


def refused_batches() -> Iterator[Json]:
    """Batches under wrong headers or wrong signatures, and trees that lie about their leaves."""
    for bank in BANKS:
        values = bank.values(5)
        said = world.compact(world.statement(values, **bank.says))
        proof = world.proof(2, world.path(values, 2))

        def bad(
            name: str,
            code: str,
            jws: str,
            proof: str = proof,
            content: bytes = values[2],
            *,
            bank: _Bank = bank,
            why: str = "",
        ) -> Json:
            return refused(f"{bank.alg} batch: {name}", why, code, content, jws, proof, **bank.at)

        jws = world.batch_jws(said, bank.key)
        head, body, sig = jws.split(".")
        header = world.protected(bank.key, TYP_EVENT)
        yield bad("single typ", "jws_payload_attached", world.batch_jws(said, bank.key, header))
        yield bad(
            "recommendation typ",
            "jws_payload_attached",
            world.batch_jws(said, bank.key, world.protected(bank.key, TYP_RECOMMENDATION)),
        )
        yield bad(
            "root signed by another",
            "signature_invalid",
            world.batch_jws(said, bank.stranger, world.protected(bank.key, TYP_BATCH)),
        )
        yield bad("signed by a stranger", "key_unknown", world.batch_jws(said, bank.stranger))
        yield bad("detached statement", "batch_statement_invalid", f"{head}..{sig}")
        yield bad("statement padded", "batch_statement_invalid", f"{head}.{body}=.{sig}")
        yield bad(
            "statement changed", "signature_invalid", f"{head}.{_text(said.replace(b'03:00:00', b'03:00:01'))}.{sig}"
        )
        yield bad("size twice", "batch_statement_invalid", world.batch_jws(said[:-1] + b',"size":5}', bank.key))
        yield bad(
            "size twice, once escaped",
            "batch_statement_invalid",
            world.batch_jws(said[:-1] + b',"siz\\u0065":5}', bank.key),
        )
        yield bad("statement an array", "batch_statement_invalid", world.batch_jws(b"[" + said + b"]", bank.key))
        yield bad(
            "statement with a byte order mark",
            "batch_statement_invalid",
            world.batch_jws(b"\xef\xbb\xbf" + said, bank.key),
        )
        leaves = [merkle.leaf_hash(content) for content in values]
        node = leaves[0] + leaves[1]
        yield bad(
            "a 64-byte value that is a node",
            "batch_proof_invalid",
            jws,
            world.proof(0, world.path(values, 0)[1:]),
            node,
            why="domain separation",
        )
        yield bad("an empty batch", "batch_size_invalid", bank.batch([]), "0.")


def _text(raw: bytes) -> str:
    return base64url.encode(raw)


def _unused_bits(text: str) -> str:
    """Spell the same bytes with a bit set that no byte uses."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) | 1]


def _hs256(header: bytes, content: bytes, key: PrivateKey) -> str:
    first = _text(header)
    secret = base64url.decode(key.public.jwk["x"].encode()) or b""
    return f"{first}..{_text(hmac.digest(secret, f'{first}.{_text(content)}'.encode(), 'sha256'))}"


def _ed25519_plus_order(jws: str) -> str:
    head, _, sig = jws.split(".")
    raw = base64url.decode(sig.encode()) or b""
    scalar = int.from_bytes(raw[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    return f"{head}..{_text(raw[:32] + scalar.to_bytes(32, 'little'))}"
