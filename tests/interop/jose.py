"""How a JOSE library is asked, whichever language it is for: one JSON object in, one out.

    {"verify": [{"name", "alg", "jwk", "jws", "payload"}], "sign": [{"name", "alg", "typ", "payload", "detached"}]}
    {"verified": {name: "<thumbprint of the key that verified, or nothing>"}, "signed": {name: {"jwk", "jws"}}}

`alg` is the key's, of which a message has no say. A payload in base64url belongs to a detached JWS; without one the
JWS has its own.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from contracts.wire import base64url
from contracts.wire.key import PublicKey

ANSWER_LIMIT_S = 120


class Signed(NamedTuple):
    """What a library signed, under a key that it made itself."""

    jws: str
    key: PublicKey


@dataclass
class Question:
    """What is to be verified and signed in one run of a library's program."""

    verify: list[dict[str, Any]] = field(default_factory=list)
    sign: list[dict[str, Any]] = field(default_factory=list)

    def add_jws(self, name: str, key: PublicKey, jws: str, value: bytes | None) -> None:
        """Ask whether `jws` is `key`'s over `value`, or over its own payload where `value` is None."""
        payload = {} if value is None else {"payload": base64url.encode(value)}
        self.verify.append({"name": name, "alg": key.alg, "jwk": dict(key.jwk), "jws": jws} | payload)

    def add_value(self, name: str, alg: str, typ: str, value: bytes, *, detached: bool = True) -> None:
        """Ask for a signature over `value` under a new key."""
        encoded = base64url.encode(value)
        self.sign.append({"name": name, "alg": alg, "typ": typ, "payload": encoded, "detached": detached})


class Answer(NamedTuple):
    """By name: the thumbprint of the key that verified ("" for none), and what was signed."""

    verified: dict[str, str]
    signed: dict[str, Signed]


def ask(command: Sequence[str], question: Question) -> Answer:
    """Run a library's program."""
    told = run_program(command, {"verify": question.verify, "sign": question.sign})
    signed = {name: Signed(one["jws"], PublicKey.from_jwk(one["jwk"])) for name, one in told["signed"].items()}
    return Answer(told["verified"], signed)


def run_program(command: Sequence[str], given: object) -> Any:
    """Give a foreign program its question and return its answer."""
    done = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, timeout=ANSWER_LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
