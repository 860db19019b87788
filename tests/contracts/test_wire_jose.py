"""Another JOSE library reads what is signed here, and what it signs is accepted here."""

import pytest
from joserfc import jws as jose
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey, OKPKey

from contracts.wire import base64url
from contracts.wire.key import PrivateKey
from contracts.wire.signature import (
    NO_PREVIOUS_ROOT,
    TYP_BATCH,
    TYP_EVENT,
    VerifiedRoots,
    headers_of,
    sign_batch,
    sign_single,
    verify_signature,
)
from tests.contracts import vector_world as world
from tests.contracts.vector_world import KEYS, NOW

PARTIES = [KEYS["bri-1"], KEYS["mandiri-1"]]


def jose_key(key: PrivateKey) -> ECKey | OKPKey:
    """Give the same key to the other library."""
    kind: type[ECKey | OKPKey] = OKPKey if key.alg == "Ed25519" else ECKey
    return kind.import_key(key.to_pem())


@pytest.mark.parametrize("key", PARTIES, ids=["Ed25519", "ES256"])
def test_the_library_accepts_our_single_signature(key: PrivateKey) -> None:
    content = world.value(1)
    head, _, sig = sign_single(content, key).split(".")
    attached = f"{head}.{base64url.encode(content)}.{sig}"
    found = jose.deserialize_compact(attached, jose_key(key), algorithms=[key.alg])
    assert found.payload == content
    assert found.headers() == {"alg": key.alg, "kid": key.kid, "typ": TYP_EVENT}
    with pytest.raises(BadSignatureError):
        jose.deserialize_compact(
            attached.replace(base64url.encode(content), base64url.encode(content + b" ")),
            jose_key(key),
            algorithms=[key.alg],
        )


@pytest.mark.parametrize("key", PARTIES, ids=["Ed25519", "ES256"])
def test_the_library_accepts_our_batch_statement(key: PrivateKey) -> None:
    values = [world.value(number) for number in (1, 2, 3)]
    jws, _ = sign_batch(
        values, key, iss=world.BRI, aud="demo/from.bri", first=1, last=3, prev=NO_PREVIOUS_ROOT, iat=NOW
    )
    found = jose.deserialize_compact(jws, jose_key(key), algorithms=[key.alg])
    assert found.payload == world.compact(world.statement(values))


@pytest.mark.parametrize("key", PARTIES, ids=["Ed25519", "ES256"])
def test_we_accept_what_the_library_signs(key: PrivateKey) -> None:
    content = world.value(1)
    find = {key.kid: key.public}.get
    header = {"typ": TYP_EVENT, "kid": key.kid, "alg": key.alg}
    jws = jose.detach_content(jose.serialize_compact(header, content, jose_key(key), algorithms=[key.alg]))
    assert verify_signature(content, headers_of(jws, None), find, VerifiedRoots()).kid == key.kid
    header["typ"] = TYP_BATCH
    said = world.compact(world.statement([content]))
    jws = jose.serialize_compact(header, said, jose_key(key), algorithms=[key.alg])
    assert verify_signature(content, headers_of(jws, "0."), find, VerifiedRoots()).statement is not None
