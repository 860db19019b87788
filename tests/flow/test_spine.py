"""One permit and one payment through all real parts, to one recommendation that Immigration can verify."""

import base64
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devstack.agencies.scenario import Application
from tests.faults.exchange import Exchange

ISSUED = "id.tka.hub.recommendation.issued.v1"
BASIS_ROLES = {"permit.approved", "billing.issued", "payment.received"}


def test_permit_and_payment_become_a_verified_recommendation(exchange: Exchange) -> None:
    [application] = exchange.natives.deal(1)
    exchange.settle(exchange.natives.tell([application]))
    pages = exchange.natives.visa_book.show()["pages"]["recommendations"].values()
    [delivered] = [page["body"] for page in pages if page["application"] == application.number]
    person = application.person
    assert delivered["worker"]["name"] == person.name
    assert delivered["worker"]["passport"] == person.passport
    assert (delivered["from"], delivered["until"]) == (application.starts.isoformat(), application.ends.isoformat())
    assert delivered["rule_set"]["id"] == "2021"
    types = {entry["type"].removeprefix("id.tka.").split(".", 1)[1].removesuffix(".v1") for entry in delivered["basis"]}
    assert types >= BASIS_ROLES
    check_signature(exchange, application)
    assert exchange.findings() == []


def check_signature(exchange: Exchange, application: Application) -> None:
    """Verify the published record with `cryptography` alone, as anybody could who has the registry."""
    rows = exchange.observer.fetch(
        "SELECT o.value, s.jws FROM outbox o JOIN outbox_signature s USING (topic, partition, seq)"
        " WHERE o.topic = 'recommendations' AND o.key = $1",
        application.number,
    )
    [(value, jws)] = rows
    published = [read.value for records in exchange.observer.observe().records.values() for read in records]
    assert published.count(value) == 3  # The same bytes on its home stream, on the ministry's and on Immigration's.
    event = json.loads(value)
    assert event["type"] == ISSUED
    head, _, signature = jws.split(".")
    protected = json.loads(_decode(head))
    key = exchange.rig.cast.message_keys["hub"]
    assert protected == {"alg": "Ed25519", "kid": key.kid, "typ": "tkahub-recommendation+jws"}
    payload = base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    public = Ed25519PublicKey.from_public_bytes(_decode(key.jwk["x"]))
    public.verify(_decode(signature), f"{head}.{payload}".encode())


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
