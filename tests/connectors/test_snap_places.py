"""Where a SNAP call comes from: mutual TLS with real certificates, client addresses, trusted proxies."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.bank.notifications import find_address
from connectors.bank.profile import Listener
from connectors.bank.snap_listener import PartnerListener, open_listeners, tls_context
from connectors.link.fault import SettingsFault
from devstack.certificates import Authority, Credentials
from tests.connectors.snap_bench import SnapBench, code_of, opened, partner
from tests.connectors.snap_caller import Caller, bank_key, payment

PROXIES = [ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32")]


@dataclass
class Banks:
    """Two banks whose certificates one authority signed, each with a listener, and a stranger of the same authority."""

    bench: SnapBench
    authority: Authority
    certificates: dict[str, Credentials]
    ports: dict[str, int]

    @asynccontextmanager
    async def connected(self, certificate: str | None, listener: str) -> AsyncIterator[httpx.AsyncClient]:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        if certificate is not None:
            context = self.certificates[certificate].open_context()
        url = f"https://127.0.0.1:{self.ports[listener]}"
        async with httpx.AsyncClient(base_url=url, verify=context) as http:
            yield http


def listener_of(server: Credentials, client: Credentials) -> dict[str, Any]:
    return {
        "port": 0,
        "certificate_pem_file": server.certificate,
        "private_key_pem_file": server.key,
        "client_certificates_pem_file": client.certificate,
    }


@pytest.fixture
async def banks(tmp_path: Path) -> AsyncIterator[Banks]:
    authority = Authority(tmp_path)
    certificates = {name: authority.certify(name) for name in ("server", "A", "B", "stranger")}
    listeners = {name: listener_of(certificates["server"], certificates[name]) for name in ("A", "B")}
    partners = (
        partner(1, partner_id="A", listener=listeners["A"]),
        partner(2, partner_id="B", bank_code="008", listener=listeners["B"]),
        partner(3, partner_id="PLAIN", bank_code="009"),
    )
    async with opened(tmp_path, *partners) as bench:
        serving = [
            PartnerListener(each, each.profile.listener, bench.door) for each in partners if each.profile.listener
        ]
        tasks = [asyncio.create_task(listener.run()) for listener in serving]
        yield Banks(bench, authority, certificates, dict(zip(("A", "B"), (each.port for each in serving), strict=True)))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def caller(name: str) -> Caller:
    return Caller(name, bank_key({"A": 1, "B": 2, "PLAIN": 3}[name]))


async def test_a_partner_is_heard_at_its_own_listener_with_its_own_certificate(banks: Banks) -> None:
    async with banks.connected("A", "A") as http:
        assert code_of(await caller("A").notify(http, payment(), banks.bench.now)) == "2002500"
        assert code_of(await caller("A").ask_token(http, banks.bench.now)) == "2007300"
    async with banks.connected("B", "B") as http:
        assert code_of(await caller("B").notify(http, payment(), banks.bench.now)) == "2002500"


async def test_As_certificate_with_Bs_client_key_is_refused(banks: Banks) -> None:  # noqa: N802
    async with banks.connected("A", "A") as http:
        token = await caller("B").ask_token(http, banks.bench.now)
        assert (code_of(token), token.json()["responseMessage"]) == ("4017300", "Unauthorized [Certificate]")
        assert code_of(await caller("B").notify(http, payment(), banks.bench.now)) == "4012500"
        assert code_of(await caller("PLAIN").notify(http, payment(), banks.bench.now)) == "4012500"
        assert code_of(await caller("B").inquire(http, payment(), banks.bench.now)) == "4012400"
    assert await banks.bench.stored() == 0


@pytest.mark.parametrize("certificate", [None, "B", "stranger"])
async def test_another_certificate_does_not_get_through_the_handshake(banks: Banks, certificate: str | None) -> None:
    async with banks.connected(certificate, "A") as http:
        with pytest.raises((httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)):
            await caller("A").notify(http, payment(), banks.bench.now)
    assert await banks.bench.stored() == 0


async def test_a_partner_with_a_listener_is_not_heard_at_the_open_door(banks: Banks) -> None:
    http, now = banks.bench.http, banks.bench.now
    assert code_of(await caller("A").notify(http, payment(), now)) == "4012500"
    assert code_of(await caller("A").ask_token(http, now)) == "4017300"
    assert code_of(await caller("PLAIN").notify(http, payment(), now)) == "2002500"


async def test_a_taken_port_and_an_unusable_certificate_stop_the_start(banks: Banks, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    agreed = listener_of(authority.certify("server"), authority.certify("client"))
    taken = partner(1, partner_id="C", listener={**agreed, "port": banks.ports["A"]})
    free = partner(1, partner_id="D", listener=agreed)
    with pytest.raises(SettingsFault, match="choose a free port"):
        open_listeners((free, taken), banks.bench.door)
    (tmp_path / "bad.pem").write_text("nothing")
    for name in ("certificate_pem_file", "private_key_pem_file", "client_certificates_pem_file"):
        for file in ("bad.pem", "absent.pem"):
            with pytest.raises(SettingsFault, match="certificates of the listener"):
                tls_context(Listener.model_validate({**agreed, name: tmp_path / file}))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["unknown"], "unknown"),
        (None, ["198.51.100.7"], None),
    ],
)
def test_an_address_counts_as_seen_or_from_a_trusted_proxy(
    peer: str | None, forwarded: list[str], address: str | None
) -> None:
    assert find_address(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    ("networks", "proxies", "forwarded", "code"),
    [
        (["127.0.0.0/8"], [], None, "2002500"),
        (["127.0.0.0/8"], [], "198.51.100.7", "2002500"),
        (["198.51.100.0/24"], [], "198.51.100.7", "4012500"),
        (["198.51.100.0/24"], PROXIES, "198.51.100.7", "2002500"),
        (["198.51.100.0/24"], PROXIES, "198.51.100.7, 203.0.113.1", "4012500"),
        (["198.51.100.0/24"], PROXIES, "nonsense", "4012500"),
        (["2001:db8::/32", "127.0.0.1/32"], [], None, "2002500"),
    ],
)
async def test_a_partners_addresses(
    tmp_path: Path, networks: list[str], proxies: Any, forwarded: str | None, code: str
) -> None:
    async with opened(tmp_path, partner(addresses=networks), proxies=proxies) as bench:
        assert code_of(await bench.notify(X_FORWARDED_FOR=forwarded)) == code
