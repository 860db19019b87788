"""Three JOSE libraries that we did not write accept our signatures, refuse what was changed, and are accepted by us."""

from collections.abc import Sequence

import pytest

from contracts import merkle
from contracts.errors import Code, Refusal
from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from contracts.wire.signature import (
    TYP_BATCH,
    TYP_EVENT,
    TYP_RECOMMENDATION,
    VerifiedRoots,
    headers_of,
    sign_batch,
    sign_single,
    verify_signature,
)
from tests.contracts.vector_world import BRI, KEYS, NOW, compact, recommendation_value, statement, value
from tests.interop.jose import Question, Signed, ask

VALUES = [value(number) for number in range(1, 8)]
OURS = {key.alg: key for key in (KEYS["bri-1"], KEYS["mandiri-1"])}


def batch_of(key: PrivateKey) -> tuple[str, list[str]]:
    return sign_batch(
        VALUES, key, iss=BRI, aud="demo/from.bri", first=1, last=len(VALUES), prev=bytes(merkle.HASH_BYTES), iat=NOW
    )


def test_they_accept_ours(library: Sequence[str]) -> None:
    question = Question()
    expected: dict[str, str] = {}
    for alg, key in OURS.items():
        recommendation = recommendation_value()
        sealed = sign_single(recommendation, key, TYP_RECOMMENDATION)
        question.add_jws(f"{alg} message", key.public, sign_single(VALUES[0], key), VALUES[0])
        question.add_jws(f"{alg} recommendation", key.public, sealed, recommendation)
        question.add_jws(f"{alg} batch", key.public, batch_of(key)[0], None)
        # They also name the key as we do.
        expected |= {f"{alg} {what}": key.kid for what in ("message", "recommendation", "batch")}
    assert ask(library, question).verified == expected


def test_they_refuse_what_was_changed_and_what_another_key_signed(library: Sequence[str]) -> None:
    question = Question()
    for alg, key in OURS.items():
        jws = sign_single(VALUES[0], key)
        other = PrivateKey.generate(alg)
        head, payload, signature = batch_of(key)[0].split(".")
        grown = (base64url.decode(payload.encode()) or b"").replace(b'"size":7', b'"size":8')
        question.add_jws(f"{alg} value", key.public, jws, VALUES[1])
        question.add_jws(f"{alg} key", other.public, jws, VALUES[0])
        question.add_jws(f"{alg} header", key.public, f"{_retyped(jws)}..{jws.split('.')[2]}", VALUES[0])
        question.add_jws(f"{alg} statement", key.public, f"{head}.{base64url.encode(grown)}.{signature}", None)
    assert set(ask(library, question).verified.values()) == {""}


def _retyped(jws: str) -> str:
    protected = base64url.decode(jws.split(".")[0].encode()) or b""
    return base64url.encode(protected.replace(TYP_EVENT.encode(), TYP_RECOMMENDATION.encode()))


def test_we_accept_theirs(library: Sequence[str]) -> None:
    question = Question()
    tree = merkle.levels([merkle.leaf_hash(one) for one in VALUES])
    for alg in OURS:
        question.add_value(f"{alg} message", alg, TYP_EVENT, VALUES[0])
        question.add_value(f"{alg} recommendation", alg, TYP_RECOMMENDATION, recommendation_value())
        question.add_value(f"{alg} batch", alg, TYP_BATCH, compact(statement(VALUES)), detached=False)
    signed = ask(library, question).signed
    assert len(signed) == len(question.sign)
    for alg in OURS:
        assert accept(signed[f"{alg} message"], VALUES[0]) == (alg, TYP_EVENT)
        assert accept(signed[f"{alg} recommendation"], recommendation_value()) == (alg, TYP_RECOMMENDATION)
        for index, one in enumerate(VALUES):
            path = base64url.encode(b"".join(merkle.path_in(tree, index)))
            assert accept(signed[f"{alg} batch"], one, f"{index}.{path}") == (alg, TYP_BATCH)
        with pytest.raises(Refusal) as refused:
            accept(signed[f"{alg} message"], VALUES[1])
        assert refused.value.code is Code.SIGNATURE_INVALID


def accept(signed: Signed, content: bytes, proof: str | None = None) -> tuple[str, str]:
    keys = {signed.key.kid: signed.key}
    verified = verify_signature(content, headers_of(signed.jws, proof), keys.get, VerifiedRoots())
    return verified.alg, verified.typ
