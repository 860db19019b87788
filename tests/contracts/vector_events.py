"""Vectors of the value and of what its signer may say: JSON, attributes, place, time, type, data, keys, memory."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from contracts.wire import base64url
from contracts.wire.envelope import write_sequence
from contracts.wire.key import PrivateKey
from tests.contracts import vector_world as world
from tests.contracts.vector_signatures import refused, vector
from tests.contracts.vector_world import DAY, KEYS, NOW, Json

BRI = KEYS["bri-1"]
SECOND = timedelta(seconds=1)


def _ms(moment: Any) -> int:
    return int(moment.timestamp() * 1000)


def sent(content: bytes, key: PrivateKey = BRI, **changes: Any) -> Json:
    """Make a well-signed record."""
    return world.record(content, world.single(content, key), **changes)


def bad(name: str, code: str, content: bytes, why: str = "", *, key: PrivateKey = BRI, **changes: Any) -> Json:
    """Make a vector of a well-signed record that is refused."""
    return refused(name, why, code, content, world.single(content, key), **changes)


def values_as_json() -> Iterator[Json]:
    """Well signed, but not JSON that every reader understands alike."""
    plain = world.value(1)
    body = plain[:-1]

    def json_bad(name: str, code: str, content: bytes, why: str = "") -> Json:
        return bad(f"JSON: {name}", code, content, why)

    in_data = plain[:-2]
    yield json_bad("id twice", "json_duplicate_key", body + b',"id":"e-2"}')
    yield json_bad("id twice, the same", "json_duplicate_key", body + b',"id":"e-1"}')
    yield json_bad("id twice, once escaped", "json_duplicate_key", body + b',"\\u0069d":"e-2"}')
    yield json_bad("id twice, the escape in capitals", "json_duplicate_key", body + b',"\\u0069\\u0064":"e-2"}')
    yield json_bad("amount twice in data", "json_duplicate_key", in_data + b',"amount":"9.00"}}')
    yield json_bad("amount twice in data, once escaped", "json_duplicate_key", in_data + b',"am\\u006funt":"9.00"}}')
    yield json_bad("a key twice, deep in a list", "json_duplicate_key", in_data + b',"x":[[{"a":1,"a":1}]]}}')
    yield json_bad("an empty key twice", "json_duplicate_key", in_data + b',"x":{"":1,"":2}}}')
    yield json_bad(
        "a key twice as surrogate pair",
        "json_duplicate_key",
        in_data + b',"x":{"\xf0\x9f\x98\x80":1,"\\ud83d\\ude00":2}}}',
    )
    yield json_bad("byte order mark", "value_bom", b"\xef\xbb\xbf" + plain)
    yield json_bad("UTF-16", "value_not_utf8", plain.decode().encode("utf-16"))
    yield json_bad("Latin-1", "value_not_utf8", in_data + ',"x":"é"}}'.encode("latin-1"))
    yield json_bad("overlong UTF-8", "value_not_utf8", in_data + b',"x":"\xc0\xaf"}}')
    yield json_bad("a surrogate in UTF-8", "value_not_utf8", in_data + b',"x":"\xed\xa0\x80"}}')
    yield json_bad("truncated UTF-8", "value_not_utf8", in_data + b',"x":"\xe2\x82"}}')
    yield json_bad("a lone surrogate escaped", "json_invalid", in_data + b',"x":"\\ud800"}}')
    yield json_bad("surrogates in wrong order", "json_invalid", in_data + b',"x":"\\ude00\\ud83d"}}')
    for token in (b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e999", b"9007199254740992", b"1" * 400, b"01", b"+1",
                  b".5", b"1.", b"0x1", b"1_000", b"True", b"undefined", b"'x'", b"/**/1"):  # fmt: skip
        shown = token.decode()[:20]
        yield json_bad(f"the token {shown}", "json_invalid", in_data + b',"x":' + token + b"}}")
    yield json_bad("a number past 2^53 in a list", "json_invalid", in_data + b',"x":[ -9007199254740993 ]}}')
    yield json_bad("U+0000 in data", "json_invalid", plain.replace(b"REF0000", b"REF\\u0000"), "no database keeps it")
    yield json_bad("a raw control character", "json_invalid", plain.replace(b"REF0000", b"REF\x01"))
    yield json_bad("a comma too many", "json_invalid", in_data + b",}}")
    yield json_bad("text after it", "json_invalid", plain + b"{}")
    yield json_bad("a NUL after it", "json_invalid", plain + b"\0")
    yield json_bad("an array", "json_invalid", b"[" + plain + b"]")
    yield json_bad("a string", "json_invalid", b'"e-1"')
    yield json_bad("empty", "json_invalid", b"")
    yield json_bad("300 arrays deep", "json_invalid", in_data + b',"x":' + b"[" * 300 + b"]" * 300 + b"}}")
    yield json_bad("more than 60 KiB", "value_too_large", in_data + b" " * 61440 + b"}}")
    yield refused("no value", "a tombstone", "record_tombstone", None, world.single(plain, BRI))


def values_accepted() -> Iterator[Json]:
    """Spellings that sign differently and mean the same are all right; they are signed as they are."""
    plain = world.value(1)
    yield vector("JSON: white space around and inside", "", sent(b" \n" + plain.replace(b",", b" ,\t") + b"\r\n"))
    yield vector("JSON: escapes in an attribute", "", sent(plain.replace(b'"id":"e-1"', b'"\\u0069d":"\\u0065-1"')))
    reversed_order = world.compact(dict(reversed(list({**world.attributes(1), "data": world.payment(1)}.items()))))
    yield vector("JSON: attributes in reverse order", "", sent(reversed_order))
    yield vector("attributes: causationid", "", sent(world.value(1, causationid="https://bri.example/tka e-0")))
    yield vector("attributes: time with microseconds", "", sent(world.value(1, time="2026-11-23T02:59:59.123456Z")))
    yield vector("attributes: time with a tenth", "", sent(world.value(1, time="2026-11-23T02:59:59.1Z")))
    yield vector("time: a fact ten years old", "late is not wrong", sent(world.value(1, time="2016-11-24T03:00:00Z")))
    yield vector(
        "time: travelled 90 days less a second",
        "",
        sent(
            world.value(
                1,
                recordedtime=world.instant(NOW - 60 * DAY),
                time=world.instant(NOW - 61 * DAY),
                expirytime=world.instant(NOW + 30 * DAY),
            )
        ),
    )
    yield vector(
        "time: 300 s ahead of the broker",
        "within the clock skew",
        sent(world.value(1, recordedtime=world.instant(NOW + 301 * SECOND))),
    )
    bill = world.bill_value(1)
    yield vector("type: the ministry's billing notice", "", sent(bill, KEYS["ministry-1"], topic="from.ministry"))
    own = {"source": world.IMMIGRATION, "audience": "demo/from.immigration", "subject": "TKA/2026/1",
           "type": "id.tka.immigration.recommendation.acknowledged.v1"}  # fmt: skip
    data = {"application": "TKA/2026/1", "number": "TKA-0123456789AB", "revision": 1}
    yield vector(
        "type: an acknowledgement",
        "",
        sent(world.value(1, data, **own), KEYS["immigration-1"], topic="from.immigration"),
    )


def attributes() -> Iterator[Json]:
    """Every required attribute, none beyond, each of its form."""
    whole = {**world.attributes(1), "data": world.payment(1)}
    for name in whole:
        content = world.compact({kept: whole[kept] for kept in whole if kept != name})
        yield bad(f"attributes: no {name}", "attribute_missing", content)
    for name in ("datacontentencoding", "data_base64", "traceparent", "partitionkey", "Id", "dataref"):
        unknown: dict[str, Any] = {name: "x"}
        yield bad(f"attributes: {name}", "attribute_unknown", world.value(1, **unknown))
    wrong: dict[str, tuple[Any, ...]] = {
        "specversion": ("1.1", "0.3", 1.0),
        "id": ("", "e 1", "e/1", "x" * 65, 1),
        "source": ("bri", "http://bri.example/tka", "https://bri.example/tka?x", "https://BRI.example/tka", ""),
        "type": ("id.tka.bank.payment.received", "id.tka.bank.payment.received.v0", "com.example.paid.v1", ""),
        "time": ("2026-11-23T10:00:00+07:00", "2026-11-23 03:00:00Z", "2026-11-23T03:00Z", "2026-02-30T03:00:00Z",
                 "2026-11-23T03:00:60Z", "2026-11-23T24:00:00Z", "2026-11-23T03:00:00.1234567Z", "2026-11-23t03:00:00z",
                 "1999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", 1795921200),
        "recordedtime": ("2026-11-24", ""),
        "expirytime": ("2026-12-24T03:00:00", "2026-11-24T03:00:00Z", "2026-11-23T03:00:00Z", "2027-03-24T03:00:00Z"),
        "subject": ("", "abc", "8202 1", "8" * 65),
        "dataschema": ("", "http://contracts.tkahub.example/x.json"),
        "datacontenttype": ("application/json; charset=utf-8", "application/xml"),
        "audience": ("", "Demo/from.bri"),
        "sequence": ("1", "00000000000000000000", "0000000000000000001", "99999999999999999999", 1,
                     "-0000000000000000001"),
        "correlationid": ("", "x" * 129, "tab\there"),
        "nonce": ("", "AAAA", "A" * 21 + "B", "A" * 22 + "==", "A" * 43),
        "data": ([], "x", 1),
        "causationid": ("", 1),
    }  # fmt: skip
    for name, contents in wrong.items():
        for content in contents:
            shown = repr(content)[:40]
            made = {**whole, name: content}
            yield bad(f"attributes: {name} {shown}", "attribute_invalid", world.compact(made))
    for name in ("id", "source", "subject", "audience", "causationid", "data"):
        made = {**whole, name: None}
        yield bad(f"attributes: {name} null", "attribute_invalid", world.compact(made))


def place_and_time() -> Iterator[Json]:
    """The right thing at the wrong place or time."""
    plain = world.value(1)
    yield bad("place: another bank's source", "source_not_owned", world.value(1, source=world.MANDIRI))
    yield bad("place: the hub's source", "source_not_owned", world.value(1, source=world.HUB))
    yield bad("place: nobody's source", "participant_unknown", world.value(1, source="https://bri.example/other"))
    yield bad("place: another bank's topic", "topic_wrong", plain, topic="from.mandiri")
    yield bad("place: a topic of nobody", "topic_wrong", plain, topic="from.bri2")
    yield bad("place: audience another topic", "audience_wrong", world.value(1, audience="demo/from.mandiri"))
    yield bad("place: audience another environment", "audience_wrong", world.value(1, audience="production/from.bri"))
    yield bad("place: audience with a partition", "audience_wrong", world.value(1, audience="demo/from.bri/0"))
    yield bad("place: record key another subject", "key_not_subject", plain, key_text="820261124000002")
    yield bad("place: record key absent", "key_not_subject", plain, key_text=None)
    yield bad("place: record key with a space", "key_not_subject", plain, key_text="820261124000001 ")
    late, early = _ms(NOW + 30 * DAY), _ms(NOW - 300 * SECOND)
    yield bad("time: arrived at its expiry", "message_expired", plain, append_time_ms=late)
    yield bad("time: arrived a year later", "message_expired", plain, append_time_ms=_ms(NOW + 250 * DAY))
    yield bad("time: recorded 301 s after arrival", "message_from_future", plain, append_time_ms=early - 1000)
    yield bad("time: happens tomorrow", "message_from_future", world.value(1, time=world.instant(NOW + DAY)))
    yield vector("time: arrived a millisecond before its expiry", "", sent(plain, append_time_ms=late - 1))


def types_and_data() -> Iterator[Json]:
    """What this participant may say, and whether it says it as the contract asks."""
    bill = world.bill_value(1, source=world.BRI, audience="demo/from.bri")
    yield bad("type: a bank publishes a permit event", "type_not_permitted", bill)
    yield bad("type: a bank plays the hub", "type_not_permitted", world.value(1, type=world.HEARTBEAT))
    yield bad("type: an unknown version", "contract_unknown", world.value(1, type="id.tka.bank.payment.received.v2"))
    yield bad("type: an unknown event", "contract_unknown", world.value(1, type="id.tka.bank.gift.given.v1"))
    yield bad("type: known here, not in the registry", "contract_unknown", world.value(1, type=world.UNREGISTERED))
    schema = "https://contracts.tkahub.example/id.tka.bank.payment.booked.v1.json"
    yield bad("dataschema: another type's", "dataschema_wrong", world.value(1, dataschema=schema))
    yield bad(
        "dataschema: an attacker's",
        "dataschema_wrong",
        world.value(1, dataschema="https://evil.example/x.json"),
        "it is never fetched",
    )
    changes: dict[str, Json] = {
        "no amount": {"amount": None}, "amount a number": {"amount": 1200},
        "amount with one decimal": {"amount": "1.0"},
        "amount negative": {"amount": "-1.00"}, "amount with a comma": {"amount": "1,200.00"},
        "currency of nobody": {"currency": "ABC"}, "currency in lower case": {"currency": "usd"},
        "billing code of 14 digits": {"billing_code": "82026112400000"}, "bank code of 2 digits": {"bank_code": "02"},
        "paid_at no time": {"paid_at": "yesterday"}, "an unknown member": {"tip": "1.00"},
        "billing code not the subject": {"billing_code": "820261124000009"}, "ntpn of 15": {"ntpn": "0" * 15},
    }  # fmt: skip
    for name, change in changes.items():
        yield bad(f"data: {name}", "data_invalid", world.value(1, world.payment(1, **change)))
    yield bad("data: empty", "data_invalid", world.value(1, {}))


def keys() -> Iterator[Json]:
    """When a key may sign, and for what."""
    plain = world.value(1)

    def by(name: str, code: str, key: str, why: str = "", **changes: Any) -> Json:
        return bad(f"key: {name}", code, plain, why, key=KEYS[key], **changes)

    yield by("of a stranger", "key_unknown", "stranger", "deferred, since the registry may be on its way")
    yield by("not yet valid", "key_not_yet_valid", "bri-next")
    yield by("expired", "key_expired", "bri-old")
    yield by("revoked", "key_revoked", "bri-revoked")
    yield by(
        "revoked, arrived before",
        "key_revoked",
        "bri-revoked",
        "the log's order decides, not the clock",
        append_time_ms=_ms(NOW - 2 * DAY),
    )
    yield by("an API key", "key_use_wrong", "bri-api")
    yield by("of another participant", "source_not_owned", "ministry-1")
    for name in ("bri-1", "bri-2"):
        yield vector(f"key: overlap, {name}", "old and new key are both good", sent(plain, KEYS[name]))
    # Held for a day and more, since nbf and exp are judged by arrival and the message lives for 30 days.
    yield vector("key: from its nbf on", "", sent(plain, KEYS["bri-next"], append_time_ms=_ms(NOW + DAY)))
    yield by("a millisecond before its nbf", "key_not_yet_valid", "bri-next", append_time_ms=_ms(NOW + DAY) - 1)


def memory() -> Iterator[Json]:
    """What depends on what was accepted before: repeats, contradictions, a registry that changes in between."""
    first, other = world.value(1), world.value(1, correlationid="other")
    yield vector(
        "memory: the same bytes again", "idempotent", sent(first), sent(first, offset=1, disposition="duplicate")
    )
    yield vector(
        "memory: the same bytes under another key",
        "identity does not depend on the signature",
        sent(first),
        sent(first, KEYS["bri-2"], offset=1, disposition="duplicate"),
    )
    batch = world.batch_jws(world.compact(world.statement([first])), BRI)
    yield vector(
        "memory: the same bytes signed in a batch",
        "identity does not depend on the signature",
        sent(first),
        world.record(first, batch, "0.", offset=1, disposition="duplicate"),
    )
    mandiri = world.mandiri_value(1)
    jws = world.single(mandiri, KEYS["mandiri-1"])
    at: dict[str, Any] = {"topic": "from.mandiri"}
    yield vector(
        "memory: the second form of an ES256 signature",
        "n - s verifies as s does, and is a repeat",
        world.record(mandiri, jws, **at),
        world.record(mandiri, _other_s(jws), offset=1, disposition="duplicate", **at),
    )
    yield vector(
        "memory: the same id, other bytes",
        "equivocation is never dropped silently",
        sent(first),
        sent(other, offset=1, expect="refuse", code="equivocation"),
    )
    yield vector(
        "memory: the same id, one space more",
        "",
        sent(first),
        sent(first + b" ", offset=1, expect="refuse", code="equivocation"),
    )
    reused = world.value(2, sequence=write_sequence(1))
    yield vector(
        "memory: a sequence used again",
        "with another id",
        sent(first),
        sent(reused, offset=1, expect="refuse", code="sequence_reused"),
    )
    yield vector("memory: a gap in the sequence", "never refused", sent(first), sent(world.value(9), offset=1))
    yield vector("memory: sequences in reverse", "never refused", sent(world.value(2)), sent(first, offset=1))
    yield vector(
        "memory: one id at two sources",
        "identity is source and id",
        sent(first),
        sent(mandiri, KEYS["mandiri-1"], offset=1, **at),
    )
    stranger = sent(other, KEYS["stranger"], expect="refuse", code="key_unknown")
    yield vector(
        "memory: a stranger first", "verify before remembering: nothing is poisoned", stranger, sent(first, offset=1)
    )


def memory_of_roots() -> Iterator[Json]:
    """Batches met again, and a registry that changes between records."""
    values = [world.value(n) for n in (1, 2, 3)]
    jws = world.batch_jws(world.compact(world.statement(values)), BRI)
    proofs = [world.proof(index, world.path(values, index)) for index in range(3)]
    good = [world.record(values[n], jws, proofs[n], offset=n) for n in range(3)]
    yield vector("roots: a whole batch", "", *good)
    yield vector(
        "roots: revoked after the root was met",
        "a remembered root does not outlive its key",
        good[0],
        {**good[1], "registry": "bri-1 revoked", "expect": "refuse", "code": "key_revoked", "disposition": "refused"},
    )
    yield vector(
        "roots: another's path under a met root",
        "",
        good[0],
        world.record(values[1], jws, proofs[2], expect="refuse", code="batch_proof_invalid"),
    )
    yield vector(
        "roots: a truncated path under a met root",
        "nodes are not remembered",
        good[0],
        good[1],
        world.record(values[2], jws, "2.", expect="refuse", code="batch_proof_invalid"),
    )
    yield vector(
        "roots: no path under a met root",
        "",
        good[0],
        world.record(values[1], jws, expect="refuse", code="batch_proof_missing"),
    )
    overlapping = world.batch_jws(
        world.compact(world.statement(values[1:], first=write_sequence(2), last=write_sequence(3))), BRI
    )
    yield vector(
        "roots: overlapping ranges",
        "never refused",
        good[0],
        world.record(values[2], overlapping, world.proof(1, world.path(values[1:], 1))),
    )
    stranger = world.value(5)
    early = sent(stranger, KEYS["stranger"], expect="refuse", code="key_unknown")
    yield vector(
        "registry: the key arrives later",
        "deferred, then accepted",
        early,
        {**early, "registry": "stranger joined", "expect": "accept", "code": None, "disposition": "accepted"},
    )


def _other_s(jws: str) -> str:
    head, _, sig = jws.split(".")
    raw = base64url.decode(sig.encode()) or b""
    s = world.P256_ORDER - int.from_bytes(raw[32:], "big")
    return f"{head}..{base64url.encode(raw[:32] + s.to_bytes(32, 'big'))}"
