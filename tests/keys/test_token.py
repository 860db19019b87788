"""Keys that never leave a token sign what keys in files sign, and ours verifies it: with a real SoftHSM."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.link.broker import Broker
from connectors.link.hub_client import client_assertion
from connectors.link.metrics import LinkMetrics
from connectors.link.publisher import Publisher
from connectors.link.spool import Spool
from contracts.log.note import Kind, VerifierKey, cosign_text, sign_text
from contracts.persons import write_act
from contracts.wire import base64url
from contracts.wire.key import PrivateKey, PublicKey, Signer
from contracts.wire.signature import VerifiedRoots, headers_of, verify_signature
from hub import trust
from hub.release import Signer as HubSigner
from hub.settings import SettingsInvalid
from hub.store import schema
from hub.store.database import Database
from hub.store.outbox import OutboxRow
from keys.fault import KeyFault, KeyTrouble
from keys.place import open_key
from keys.token import TokenKey
from keys.uri import read_uri
from tests.connectors.parties import AUTHOR, World, payment
from tests.keys.softhsm import PIN, SoftToken, make_token

pytestmark = pytest.mark.needs("softhsm")
ROOT = Path(__file__).parents[2]
ORIGIN = "hub.example/test"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftToken]:
    """Give a token with a key of each kind."""
    before = os.environ.get("SOFTHSM2_CONF")
    made, environment = make_token(tmp_path_factory.mktemp("softhsm"))
    os.environ |= environment
    for name, kind in {"ed": "Ed25519", "ec": "ES256", "ec384": "P-384"}.items():
        made.make_key(name, kind)
    yield made
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture(params=["ed", "ec"])
def key(token: SoftToken, request: pytest.FixtureRequest) -> Signer:
    """Give a key of the token, of each algorithm of the exchange."""
    return open_key(token.uri(request.param))


def test_its_signature_is_verified_by_the_public_half_alone(key: Signer) -> None:
    public = PublicKey.from_jwk(key.public.jwk)
    signature = key.sign(b"said")
    assert (len(signature), public.kid) == (64, key.kid)
    assert public.verify(signature, b"said")
    assert not public.verify(signature, b"Said")


async def test_the_hub_seals_with_it(key: Signer, database: str) -> None:
    await schema.migrate(database)
    world: Any = World(hub=key)  # type: ignore[arg-type]
    rows = [
        OutboxRow(seq, "k", "recommendation" if seq == 1 else "event", True, f"value {seq}".encode(), None, None)
        for seq in (1, 2, 3)
    ]
    signer = HubSigner(key)
    signer.use(world.registry())
    opened = await Database.open(database, size=1)
    try:
        async with opened.connection() as connection:
            signed = (await signer.sign_streams(connection, "to.bri", {0: rows}))[0]
    finally:
        await opened.close()
    for row in signed:
        assert row.jws is not None
        assert row.value is not None
        found = verify_signature(row.value, headers_of(row.jws, row.proof), {key.kid: key.public}.get, VerifiedRoots())
        assert found.kid == key.kid


@pytest.mark.parametrize("count", [1, 5])
async def test_a_connector_s_publisher_signs_with_it(key: Signer, tmp_path: Path, count: int) -> None:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR) as spool:
        await spool.begin()
        publisher = Publisher(spool, AUTHOR, key, Broker("127.0.0.1:1", "", "test"), LinkMetrics())
        await spool.put([payment(number) for number in range(count)])
        assert await publisher.sign_waiting() == count
        for row in await spool.unsent(count):
            headers = headers_of(row.jws, row.jws_proof)
            assert verify_signature(row.value, headers, {key.kid: key.public}.get, VerifiedRoots()).kid == key.kid


def test_it_calls_the_api_and_signs_acts_of_persons(key: Signer) -> None:
    signed, _, signature = client_assertion(key, "bri", "https://hub.example", 1).rpartition(".")
    assert key.public.verify(base64url.decode(signature.encode()) or b"", signed.encode())
    act = json.loads(write_act({"what": "test"}, "tkahub-test+jws", key))
    [one] = act["signatures"]
    said = f"{one['protected']}.{act['payload']}".encode()
    assert key.public.verify(base64url.decode(one["signature"].encode()) or b"", said)


def test_the_log_and_a_witness_sign_with_it(token: SoftToken) -> None:
    key = open_key(token.uri("ed"))
    text = f"{ORIGIN}\n1\n{'A' * 43}=\n"
    for line, kind in (
        (sign_text(text, ORIGIN, key), Kind.ED25519),
        (cosign_text(text, ORIGIN, key, 1), Kind.COSIGNATURE_V1),
    ):
        assert VerifierKey.of(ORIGIN, kind, key.public).verify(text, line.signature)


def test_programs_take_its_uri_in_place_of_a_file(token: SoftToken) -> None:
    key = open_key(token.uri("ed"))
    own = {"DATABASE_URL": "postgresql://x", "LOG_KEY_FILE": str(token.uri("ed"))}
    hub = _run(["-m", "hub.cli", "log", "key", ORIGIN], own)
    assert hub.stdout.strip() == VerifierKey.of(ORIGIN, Kind.ED25519, key.public).write()
    witness = _run(["-m", "connectors.oversight", "witness-key", "--name", "w.example/w", "--key", own["LOG_KEY_FILE"]])
    assert witness.stdout.strip() == VerifierKey.of("w.example/w", Kind.COSIGNATURE_V1, key.public).write()
    assert PIN not in hub.stdout + hub.stderr + witness.stdout + witness.stderr


def _run(words: list[str], settings: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | (settings or {})
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def test_a_session_that_was_lost_is_opened_anew(token: SoftToken) -> None:
    key = TokenKey(read_uri(str(token.uri("ed"))))
    key._key.session.close()
    assert key.public.verify(key.sign(b"said"), b"said")


def test_two_keys_of_one_token_work_side_by_side(token: SoftToken) -> None:
    one, other = open_key(token.uri("ed")), open_key(token.uri("ec"))
    for key in (one, other, one):
        assert key.public.verify(key.sign(b"said"), b"said")
    assert open_key(token.uri("ed")) is one


def _trouble(place: Path) -> KeyTrouble:
    """Return why a setting cannot be used, as the hub tells it."""
    with pytest.raises(SettingsInvalid) as told:
        trust.read_private_key(place, "HUB_KEY_FILE")
    with pytest.raises(KeyFault) as caught:
        open_key(place)
    assert str(told.value) == f"HUB_KEY_FILE {caught.value}."
    assert PIN not in str(told.value)
    return caught.value.trouble


def test_what_is_wrong_is_told(token: SoftToken, tmp_path: Path) -> None:
    wrong, empty = tmp_path / "wrong.pin", tmp_path / "absent.pin"
    wrong.touch(mode=0o600)
    wrong.write_text("1111")
    assert _trouble(token.uri("nobody")) is KeyTrouble.KEY_ABSENT
    assert _trouble(token.uri("ed", token="elsewhere")) is KeyTrouble.TOKEN_ABSENT
    assert _trouble(token.uri("ed", module="/nowhere.so")) is KeyTrouble.MODULE_UNUSABLE
    assert _trouble(token.uri("ed", pin_file=empty)) is KeyTrouble.FILE_UNREADABLE
    assert _trouble(token.uri("ec384")) is KeyTrouble.UNFIT
    wrong.chmod(0o644)
    assert _trouble(token.uri("ed", pin_file=wrong)) is KeyTrouble.FILE_OPEN_TO_OTHERS
    wrong.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", "log", "key", ORIGIN],
        env=os.environ | {"DATABASE_URL": "postgresql://x", "LOG_KEY_FILE": str(token.uri("ed", pin_file=wrong))},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, str(KeyTrouble.PIN_WRONG) in done.stderr, "1111" in done.stderr) == (2, True, False)


def test_without_the_package_it_says_what_is_missing(token: SoftToken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(KeyFault, match="the extra `pkcs11`") as caught:
        TokenKey(read_uri(str(token.uri("ed"))))
    assert caught.value.trouble is KeyTrouble.NOT_INSTALLED


def test_a_key_in_a_file_is_the_same_interface(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.touch(mode=0o600)
    file.write_bytes(PrivateKey.generate("ES256").to_pem())
    key = open_key(file)
    assert key.public.verify(key.sign(b"said"), b"said")
