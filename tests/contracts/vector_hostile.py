"""Vectors of an adversary who knows the formats well: what a careless reader of signature, batch or value lets pass."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from contracts.wire import base64url
from contracts.wire.envelope import write_sequence
from contracts.wire.signature import BATCH_SIZE_MAX, TYP_BATCH, TYP_EVENT
from tests.contracts import vector_world as world
from tests.contracts.vector_events import bad, sent
from tests.contracts.vector_signatures import BANKS, refused, vector
from tests.contracts.vector_world import KEYS, Json

ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
JWS_BYTES_MAX = 4096


def forged_signatures() -> Iterator[Json]:
    """Numbers that satisfy a verifier which leaves out its range checks, and signatures over something else."""
    mandiri, bri = BANKS[1], BANKS[0]
    content = mandiri.write(1)
    head = world.single(content, mandiri.key).split(".")[0]
    raw = base64url.decode(world.single(content, mandiri.key).split(".")[2].encode()) or b""
    r, s = raw[:32], raw[32:]
    order, zero, one = world.P256_ORDER.to_bytes(32, "big"), bytes(32), (1).to_bytes(32, "big")
    for name, forged in {
        "r is 0": zero + s, "r is the order": order + s, "s is the order": r + order, "r and s the order": order * 2,
        "r is 1 and s is 1": one + one, "all ones": b"\xff" * 64, "r of 31 bytes and s of 33": raw[1:] + raw[:1],
        "r in little-endian": r[::-1] + s,
    }.items():  # fmt: skip
        jws = f"{head}..{base64url.encode(forged)}"
        yield refused(f"ES256 forged: {name}", "", "signature_invalid", content, jws, **mandiri.at)
    content = bri.write(1)
    head, _, sig = world.single(content, bri.key).split(".")
    raw = base64url.decode(sig.encode()) or b""
    identity, order = one[::-1], ED25519_ORDER.to_bytes(32, "little")
    for name, forged in {
        "R is the identity and S is 0": identity + zero, "S is 0": raw[:32] + zero, "S is the order": raw[:32] + order,
        "R is not canonical": (2**255 - 18).to_bytes(32, "little") + zero, "S in big-endian": raw[:32] + raw[:31:-1],
        "R's sign turned": raw[:31] + bytes([raw[31] ^ 0x80]) + raw[32:],
    }.items():  # fmt: skip
        yield refused(
            f"Ed25519 forged: {name}", "", "signature_invalid", content, f"{head}..{base64url.encode(forged)}"
        )
    for bank in BANKS:
        yield from _over_something_else(bank.write(1), bank)


def _over_something_else(content: bytes, bank: Any) -> Iterator[Json]:
    first = base64url.encode(world.protected(bank.key))
    for name, signed in {
        "the bare value": content,
        "the value unencoded, as b64 false has it": f"{first}.".encode() + content,
        "P alone": f"{first}.".encode(),
        "the value's digest": f"{first}.{base64url.encode(sha256(content).digest())}".encode(),
        "P unencoded": world.protected(bank.key) + b"." + base64url.encode(content).encode(),
        "a padded value": f"{first}.{base64url.encode(content)}=".encode(),
    }.items():
        jws = f"{first}..{base64url.encode(bank.key.sign(signed))}"
        yield refused(f"{bank.alg} signed over {name}", "", "signature_invalid", content, jws, **bank.at)


def hostile_headers() -> Iterator[Json]:
    """Header values that are no text, or text beside the point."""
    content, key = world.value(1), KEYS["bri-1"]
    jws = world.single(content, key)
    good: list[list[Any]] = [["content-type", world.CONTENT_TYPE], ["jws", jws]]

    def with_headers(name: str, code: str, headers: list[list[Any]], why: str = "") -> Json:
        return refused(f"headers: {name}", why, code, content, None, headers=headers)

    yield with_headers("jws null", "header_missing", [good[0], ["jws", None]])
    yield with_headers("content-type null", "header_invalid", [["content-type", None], good[1]])
    yield with_headers("jws-proof null", "header_invalid", [*good, ["jws-proof", None]])
    yield with_headers("jws null and jws", "header_duplicate", [good[0], ["jws", None], good[1]])
    yield with_headers("two jws-proof", "header_duplicate", [*good, ["jws-proof", "0."], ["jws-proof", "0."]])
    yield with_headers("jws-proof empty on a single", "batch_proof_unexpected", [*good, ["jws-proof", ""]])
    yield with_headers("a stranger's twice", "header_duplicate", [*good, ["x-trace", "1"], ["x-trace", "2"]])
    yield with_headers("Jws-Proof", "header_forbidden", [*good, ["Jws-Proof", "0."]])
    yield with_headers("Hub-Seq", "header_forbidden", [*good, ["Hub-Seq", "1"]])
    yield with_headers("hub-seq past 19 digits", "header_invalid", [*good, ["hub-seq", "1" * 20]])
    for name, spelled in {
        "in lower case": "application/cloudevents+json; charset=utf-8", "with a second space": "application/"
        "cloudevents+json;  charset=UTF-8", "with a space after it": f"{world.CONTENT_TYPE} ", "empty": "",
        "with a second charset": f"{world.CONTENT_TYPE}; charset=UTF-16", "of AVRO": "application/cloudevents+avro",
    }.items():  # fmt: skip
        yield with_headers(f"content-type {name}", "header_invalid", [["content-type", spelled], good[1]])
    for name, spelled in {
        "a line feed after it": f"{jws}\n", "a NUL after it": f"{jws}\0", "a byte order mark": f"\ufeff{jws}",
        "in quotes": f'"{jws}"', "another script's full stops": jws.replace(".", "\u3002"),
    }.items():  # fmt: skip
        yield with_headers(f"jws with {name}", "jws_malformed", [good[0], ["jws", spelled]])
    # At the cap the signature part is judged; one byte more is not looked at.
    filler = JWS_BYTES_MAX - len(jws)
    yield with_headers("jws of 4096 bytes", "jws_malformed", [good[0], ["jws", jws + "A" * (filler - 1) + "="]])
    yield with_headers("jws of 4097 bytes", "jws_malformed", [good[0], ["jws", jws + "A" * (filler + 1)]])


def hostile_protected() -> Iterator[Json]:
    """P that says what no reader agrees on."""
    for bank in BANKS:
        content, kid, alg, stranger = bank.write(1), bank.key.kid, bank.alg, bank.stranger.kid
        plain, blank = world.protected(bank.key), world.protected(bank.key, "T")
        for name, code, header in (
            ("kid twice, another's last", "jws_header_invalid", plain[:-1] + f',"kid":"{stranger}"}}'.encode()),
            ("typ twice, escaped", "jws_header_invalid", plain[:-1] + b',"\\u0074yp":"tkahub-batch+jws"}'),
            ("Alg beside alg", "jws_header_invalid", plain[:-1] + b',"Alg":"none"}'),
            ("Alg for alg", "jws_header_invalid", plain.replace(b'"alg"', b'"Alg"')),
            ("an empty member", "jws_header_invalid", plain[:-1] + b',"":""}'),
            ("a comma too many", "jws_header_invalid", plain[:-1] + b",}"),
            ("a comment", "jws_header_invalid", plain[:-1] + b"/**/}"),
            ("a NUL after it", "jws_header_invalid", plain + b"\0"),
            ("UTF-16", "jws_header_invalid", plain.decode().encode("utf-16")),
            ("typ with a lone surrogate", "jws_header_invalid", plain.replace(b"event+jws", b"\\ud800")),
            ("typ 1E400", "jws_header_invalid", blank.replace(b'"T"', b"1E400")),
            ("typ NaN", "jws_header_invalid", blank.replace(b'"T"', b"NaN")),
            ("typ 700 arrays deep", "jws_header_invalid", blank.replace(b'"T"', b"[" * 700 + b"]" * 700)),
            ("typ a list", "jws_typ_wrong", blank.replace(b'"T"', b'["tkahub-event+jws"]')),
            ("typ null", "jws_typ_wrong", blank.replace(b'"T"', b"null")),
            ("typ with application/", "jws_typ_wrong", world.protected(bank.key, f"application/{TYP_EVENT}")),
            ("alg with a space", "jws_alg_forbidden", world.protected(bank.key, alg=f"{alg} ")),
            ("alg empty", "jws_alg_forbidden", world.protected(bank.key, alg="")),
            ("alg an object", "jws_alg_forbidden", world.protected(bank.key, alg={alg: alg})),
            ("alg ES256K", "jws_alg_forbidden", world.protected(bank.key, alg="ES256K")),
            ("alg Ed448", "jws_alg_forbidden", world.protected(bank.key, alg="Ed448")),
            ("alg NONE", "jws_alg_forbidden", world.protected(bank.key, alg="NONE")),
            ("kid padded", "jws_header_invalid", world.protected(bank.key, kid=f"{kid}=")),
            ("kid null", "jws_header_invalid", world.protected(bank.key, kid=None)),
            ("kid a list", "jws_header_invalid", world.protected(bank.key, kid=[kid])),
            ("kid empty", "jws_header_invalid", world.protected(bank.key, kid="")),
            ("kid in other case", "key_unknown", world.protected(bank.key, kid=kid.swapcase())),
            ("kid with other unused bits", "key_unknown", world.protected(bank.key, kid=_next_letter(kid))),
        ):  # fmt: skip
            jws = world.seal(header, content, bank.key)
            yield refused(f"{alg} P: {name}", "", code, content, jws, **bank.at)


def _next_letter(kid: str) -> str:
    return kid[:-1] + ("A" if kid[-1] != "A" else "E")


def hostile_statements() -> Iterator[Json]:
    """Statements whose values only look right, and messages that their own batch's range leaves out."""
    wrong: dict[str, tuple[str, dict[str, object]]] = {
        "sequence above its range": ("batch_statement_invalid", {"first": _seq(11), "last": _seq(20)}),
        "sequence below its range": ("batch_statement_invalid", {"first": _seq(4), "last": _seq(9)}),
        "size 5e0": ("batch_size_invalid", {"size": "5e0"}), "size null": ("batch_size_invalid", {"size": "null"}),
        "size 2^53": ("batch_statement_invalid", {"size": "9007199254740992"}),
        "size NaN": ("batch_statement_invalid", {"size": "NaN"}), "size -0": ("batch_size_invalid", {"size": "-0"}),
        "size a list": ("batch_size_invalid", {"size": "[5]"}),
        "vds in lower case": ("batch_statement_invalid", {"vds": "rfc9162_sha256"}),
        "vds an array": ("batch_statement_invalid", {"vds": ["RFC9162_SHA256"]}),
        "iss with a space": ("batch_statement_invalid", {"iss": "https://bri.example/ tka"}),
        "iss a list": ("batch_statement_invalid", {"iss": ["https://bri.example/tka"]}),
        "iss with a slash more": ("batch_statement_invalid", {"iss": "https://bri.example/tka/"}),
        "aud with a partition": ("batch_statement_invalid", {"aud": "demo/from.bri/0"}),
        "aud an object": ("batch_statement_invalid", {"aud": {}}),
        "last a number": ("batch_statement_invalid", {"last": 5}),
        "last with a sign": ("batch_statement_invalid", {"last": "+0000000000000000005"}),
        "last with a space": ("batch_statement_invalid", {"last": " 0000000000000000005"}),
        "last in Arabic-Indic digits": ("batch_statement_invalid", {"last": "0" * 19 + "\u0665"}),
        "last of 21 digits": ("batch_statement_invalid", {"last": "0" * 20 + "5"}),
        "root of 33 bytes": ("batch_statement_invalid", {"root": base64url.encode(bytes(33))}),
        "root in hexadecimal": ("batch_statement_invalid", {"root": bytes(32).hex()}),
        "root empty": ("batch_statement_invalid", {"root": ""}),
        "root a list": ("batch_statement_invalid", {"root": [0] * 32}),
        "prev empty": ("batch_statement_invalid", {"prev": ""}),
        "iat empty": ("batch_statement_invalid", {"iat": ""}),
        "iat of seven decimals": ("batch_statement_invalid", {"iat": "2026-11-24T03:00:00.1234567Z"}),
        "iat a leap second": ("batch_statement_invalid", {"iat": "2026-12-31T23:59:60Z"}),
        "iat in 1999": ("batch_statement_invalid", {"iat": "1999-12-31T23:59:59Z"}),
    }  # fmt: skip
    for bank in BANKS:
        values = bank.values(10)[:5]
        proof = world.proof(2, world.path(values, 2))
        for name, (code, change) in wrong.items():
            said = world.compact({**world.statement(values, **bank.says), **change})
            if isinstance(change.get("size"), str):
                said = said.replace(f'"{change["size"]}"'.encode(), str(change["size"]).encode())
            jws = world.batch_jws(said, bank.key)
            yield refused(f"{bank.alg} statement: {name}", "", code, values[2], jws, proof, **bank.at)
        for member in ("vds", "iss", "aud", "size", "root", "first", "last", "prev", "iat"):
            kept = {name: text for name, text in world.statement(values, **bank.says).items() if name != member}
            jws = world.batch_jws(world.compact(kept), bank.key)
            why, code = "each member is required", "batch_statement_invalid"
            yield refused(f"{bank.alg} statement: without {member}", why, code, values[2], jws, proof, **bank.at)
            jws = world.batch_jws(world.compact({**kept, member: None}), bank.key)
            code = "batch_size_invalid" if member == "size" else code
            yield refused(f"{bank.alg} statement: {member} is null", "", code, values[2], jws, proof, **bank.at)
        for edge, index in (("first", 0), ("last", 4)):
            jws = bank.batch(values)
            record = world.record(values[index], jws, world.proof(index, world.path(values, index)), **bank.at)
            yield vector(f"{bank.alg} statement: sequence is {edge}", "the range has both its ends", record)


def _seq(number: int) -> str:
    return write_sequence(number)


def odd_trees() -> Iterator[Json]:
    """Trees that are no powers of two, at their last leaf and at the ones beside it."""
    for bank in BANKS:
        for size in (3, 5, 6, 9, 15, 17, 31, 63):
            values = bank.values(size)
            jws = bank.batch(values)
            for index in sorted({0, size - 2, size - 1}):
                record = world.record(values[index], jws, world.proof(index, world.path(values, index)), **bank.at)
                yield vector(f"{bank.alg} odd tree {size} index {index}", "an odd last node goes up unchanged", record)
            last = world.path(values, size - 1)
            doubled = world.proof(size, world.path([*values, values[-1]], size))
            for name, proof in {
                "last leaf doubled, as other trees do": doubled,
                "last leaf said to be the one before": world.proof(size - 2, last),
                "path of one node more": world.proof(size - 1, [sha256(b"\0" + values[-1]).digest(), *last]),
            }.items():
                name = f"{bank.alg} odd tree {size}: {name}"
                yield refused(name, "", "batch_proof_invalid", values[-1], jws, proof, **bank.at)
        values = bank.values(BATCH_SIZE_MAX + 1)
        proof = world.proof(BATCH_SIZE_MAX, world.path(values, BATCH_SIZE_MAX))
        yield refused(
            f"{bank.alg} odd tree 65 index 64",
            "",
            "batch_size_invalid",
            values[-1],
            bank.batch(values),
            proof,
            **bank.at,
        )
        single = bank.write(1)
        jws = world.batch_jws(world.compact(world.statement([single], **bank.says)), bank.key)
        for proof in ("0", "", "00.", "0..", "0.=", "0. ", "1.", "-0.", world.proof(0, [bytes(32)])):
            name = f"{bank.alg} batch of one: proof {proof[:12]!r}"
            yield refused(name, "", "batch_proof_invalid", single, jws, proof, **bank.at)
        header = world.protected(bank.key, TYP_BATCH)
        yield refused(
            f"{bank.alg} batch of one: signed as a single under the batch's typ",
            "", "batch_statement_invalid", single, world.seal(header, single, bank.key), "0.", **bank.at,
        )  # fmt: skip


def hostile_json() -> Iterator[Json]:
    """Values that parsers read in different ways, or that break one."""
    plain = world.value(1)
    inside = plain[:-2]

    def value_bad(name: str, code: str, content: bytes, why: str = "") -> Json:
        return bad(f"JSON: {name}", code, content, why)

    for name, token in {
        "1E400 in capitals": b"1E400", "a number of 5,000 digits": b"9" * 5000, "nan": b"nan", "-NaN": b"-NaN",
        "-Infinity deep in a list": b"[[-Infinity]]", "2^53 as a fraction": b"9007199254740992.0", "1e16": b"1e16",
        "an octal number": b"0o17", "a number with a point only": b"1.e5", "a lone minus": b"-", "none": b"None",
        "a half escape": b'"\\u12"', "a hexadecimal escape": b'"\\x41"', "a string over two lines": b'"a\nb"',
        "a tab in a string": b'"a\tb"', "an unfinished string": b'"a', "a low surrogate alone": b'"\\udc00"',
        "a surrogate before a letter": b'"\\ud800a"', "a surrogate in a name": b'{"\\ud800":1}',
        "5,000 arrays deep": b"[" * 5000 + b"]" * 5000, "3,000 objects deep": b'{"a":' * 3000 + b"1" + b"}" * 3000,
        "5,000 arrays never closed": b"[" * 5000, "a form feed as white space": b"\x0c1",
        "a no-break space as white space": b"\xc2\xa01", "a line separator as white space": b"\xe2\x80\xa81",
    }.items():  # fmt: skip
        yield value_bad(name, "json_invalid", inside + b',"x":' + token + b"}}")
    for name, member in {
        "a name twice, slash escaped": b'"a/b":1,"a\\/b":2', "a name twice, quote escaped": b'"\\"":1,"\\u0022":2',
        "a name twice after 300 others": b",".join(b'"k%d":1' % n for n in range(300)) + b',"k7":2',
        "__proto__ twice": b'"__proto__":1,"__proto__":2', "a name twice, NUL escaped": b'"\\u0000":1,"\\u0000":2',
    }.items():  # fmt: skip
        yield value_bad(name, "json_duplicate_key", inside + b',"x":{' + member + b"}}}")
    yield value_bad("two byte order marks", "value_bom", b"\xef\xbb\xbf" * 2 + plain)
    yield value_bad("a byte order mark alone", "value_bom", b"\xef\xbb\xbf")
    yield value_bad("UTF-16 without a mark", "json_invalid", plain.decode().encode("utf-16-le"), "all of it is UTF-8")
    yield value_bad("a byte past U+10FFFF", "value_not_utf8", inside + b',"x":"\xf4\x90\x80\x80"}}')
    yield value_bad("white space alone", "json_invalid", b" \r\n\t")
    yield value_bad("null", "json_invalid", b"null")
    yield value_bad("a NUL before it", "json_invalid", b"\0" + plain)
    yield value_bad("a record separator before it", "json_invalid", b"\x1e" + plain, "RFC 7464")
    yield value_bad("an object in an array in an array", "json_invalid", b"[[" + plain + b"]]")
    yield value_bad("61,441 bytes", "value_too_large", plain + b" " * (61_441 - len(plain)))
    yield vector("JSON: 61,440 bytes", "the largest value", sent(plain + b" " * (61_440 - len(plain))))


def other_banks_money() -> Iterator[Json]:
    """A bank reports the payments of the bank that it is."""
    why = "the bank code belongs to its participant in the registry"
    for code in ("008", "014"):
        content = world.value(1, world.payment(1, bank_code=code))
        yield bad(f"data: a payment of bank {code} reported by bank 002", "bank_not_owned", content, why)
    booked = "id.tka.bank.payment.booked.v1"
    yield bad("data: a booking at another bank", "bank_not_owned", world.value(1, booking("008"), type=booked), why)
    yield vector("data: a booking at one's own bank", "", sent(world.value(1, booking("002"), type=booked)))


def booking(bank_code: str) -> Json:
    """Give the data of a statement's entry."""
    return {
        "bank_code": bank_code, "billing_code": "820261124000001", "amount": "1200.00", "currency": "USD",
        "booked_on": "2026-11-23", "account": "0123456789", "notification_id": "N-1", "entry": 1, "detail": None,
        "content_sha256": sha256(b"1").hexdigest(),
    }  # fmt: skip
