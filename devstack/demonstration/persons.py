"""The demo's two persons: the root document that names them, and their signatures, made with `cryptography` alone.

No code of the exchange is used here, so that what it reads was not written by itself (SPEC.md section 6).
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from devstack.agencies.scenario import write_instant
from devstack.demonstration.keys import SigningKey, write_base64url

PERSONS = {"sari": "Sari Lestari", "budi": "Budi Santoso"}
ROOT_TYP, REGISTRY_TYP = "tkahub-root+jws", "tkahub-registry+jws"
KEY_VALIDITY = timedelta(days=365)


def write_roots(environment: str, root: SigningKey, persons: Mapping[str, SigningKey], start: datetime) -> str:
    """Return the chain of one root document, by which each change of the registry takes both persons."""
    # An hour back: a machine whose clock is a little behind must not refuse the first signature.
    nbf, exp = write_instant(start - timedelta(hours=1)), write_instant(start + KEY_VALIDITY)
    document = {
        "format": "tkahub-root/1",
        "environment": environment,
        "version": 1,
        "issued_at": nbf,
        "previous": None,
        "root": root.jwk,
        "threshold": 2,
        "persons": [
            {
                "id": person,
                "name": PERSONS[person],
                "may_suspend": True,
                "keys": [{"kid": key.kid, "alg": key.alg, "jwk": key.jwk, "nbf": nbf, "exp": exp, "revoked_at": None}],
            }
            for person, key in persons.items()
        ],
    }
    payload = write_base64url(json.dumps(document).encode())
    return json.dumps([{"payload": payload, "signatures": [_sign(payload, ROOT_TYP, root)]}])


def sign_proposal(file: Path, keys: Iterable[SigningKey]) -> None:
    """Sign a proposal with these keys, as each person would on a machine of his own."""
    proposal: dict[str, Any] = json.loads(file.read_bytes())
    proposal["signatures"] += [_sign(proposal["payload"], REGISTRY_TYP, key) for key in keys]
    file.write_text(json.dumps(proposal))


def _sign(payload: str, typ: str, key: SigningKey) -> dict[str, str]:
    """Return one signature of a JWS in general JSON serialization (RFC 7515 section 7.2.1)."""
    protected = write_base64url(json.dumps({"alg": key.alg, "kid": key.kid, "typ": typ}).encode())
    return {"protected": protected, "signature": write_base64url(key.sign(f"{protected}.{payload}".encode()))}
