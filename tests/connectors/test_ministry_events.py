"""`POST /events`: stored before it is answered, once by its key, and every fault as a problem that repeats nothing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from connectors.link.clock import utc_now
from connectors.link.fault import SettingsFault
from connectors.link.problem import Problem, read_tokens
from connectors.link.spool import Spool
from connectors.ministry.events_door import BODY_BYTES_MAX, EventsDoor, read_event
from tests.connectors.serving import served
from tests.connectors.test_ministry import AUTHOR, FILE, REFUSED, RUPIAH, rows_in
from tests.contracts.samples import APPLICATION

TOKEN = "t" * 32
OTHER_TOKEN = "o" * 40
EVENT = {"at": "2026-03-02T08:00:00+07:00", "kind": "LENGKAP", "application_number": APPLICATION, "payload": FILE}


class Door:
    """The door as a caller sees it, and the spool behind it."""

    def __init__(self, http: httpx.AsyncClient, spool: Spool, metrics: CollectorRegistry) -> None:
        self.http, self.spool, self.metrics = http, spool, metrics

    async def post(self, key: str | None = "K-1", body: Any = EVENT, **changes: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
        headers |= {} if key is None else {"idempotency-key": key}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.http.post("/events", content=content, headers=headers | changes)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, clock=utc_now) as spool:
        metrics, app = CollectorRegistry(), FastAPI()
        app.include_router(EventsDoor(spool, AUTHOR, [TOKEN.encode(), OTHER_TOKEN.encode()], metrics).routes())
        async with served(app) as url, httpx.AsyncClient(base_url=url) as http:
            yield Door(http, spool, metrics)


async def test_event_is_on_disk_when_it_is_answered(door: Door) -> None:
    answer = await door.post()
    assert answer.status_code == 202
    assert answer.json() | {"event_id": ""} == {"event_id": "", "sequence": 1, "repeated": False}
    assert await rows_in(door.spool) == ["rest/K-1"]
    fact = await door.spool.fact(answer.json()["event_id"])
    assert fact is not None
    assert b'status="202"' in generate_latest(door.metrics)


async def test_repeat_is_answered_alike_and_counts_once(door: Door) -> None:
    first = await door.post(authorization=f"Bearer {OTHER_TOKEN}")
    for key in ("K-1", '"K-1"'):
        again = await door.post(key)
        assert again.status_code == 200
        assert again.json() == first.json() | {"repeated": True}
    assert await rows_in(door.spool) == ["rest/K-1"]


async def test_key_of_another_fact_is_refused_and_the_first_stands(door: Door) -> None:
    await door.post()
    answer = await door.post(body=EVENT | {"kind": "TKA_TERVERIFIKASI"})
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/idempotency-key-reused")
    assert await rows_in(door.spool) == ["rest/K-1"]
    assert (await door.spool.status()).aside == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": FILE | {"kbli": "x"}},
        {"payload": {}},
        {"kind": "PINDAH"},
        # Each amount is one that could be meant, and together they are not: the fault is the whole's, no member's.
        {"kind": "KODE_BAYAR", "payload": RUPIAH | {"kurs": None}},
    ],
)
async def test_key_of_another_fact_is_told_of_before_what_is_wrong_with_the_new_one(
    door: Door, changes: dict[str, Any]
) -> None:
    unfit = await door.post("K-2", EVENT | changes)
    assert unfit.status_code == 422
    assert not unfit.json()["type"].endswith("/idempotency-key-reused")
    await door.post()
    answer = await door.post(body=EVENT | changes)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/idempotency-key-reused")
    assert await rows_in(door.spool) == ["rest/K-1"]


async def test_unfit_fact_can_be_corrected_under_its_key(door: Door) -> None:
    for payload in (FILE | {"kbli": "x"}, FILE | {"jenis": "lama"}, {}):
        answer = await door.post(body=EVENT | {"payload": payload})
        assert answer.status_code == 422
    assert answer.json()["type"].endswith("/row-member-missing")
    assert answer.json()["detail"] == "The fact cannot be published: petugas."
    assert (await door.post()).status_code == 202
    assert (await door.spool.status()).aside == 0


async def test_money_is_exact(door: Door) -> None:
    text = json.dumps(EVENT | {"kind": "KODE_BAYAR", "payload": RUPIAH | {"kurs": 0}}).replace(
        '"kurs": 0', '"kurs": 16250.00'
    )
    assert (await door.post(body=text.encode())).status_code == 202


@pytest.mark.parametrize(
    ("status", "slug", "changes"),
    [
        (401, "token-invalid", {"authorization": f"Bearer {TOKEN}x"}),
        (401, "token-invalid", {"authorization": f"Basic {TOKEN}"}),
        (400, "idempotency-key-invalid", {"idempotency-key": "a b"}),
        (415, "content-type-wrong", {"content-type": "text/plain"}),
    ],
)
async def test_wrong_header_is_a_problem(door: Door, status: int, slug: str, changes: dict[str, str]) -> None:
    answer = await door.post(**changes)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["type"] == f"https://contracts.tkahub.example/problems/{slug}"
    assert (answer.headers.get("www-authenticate") == "Bearer") == (status == 401)


@pytest.mark.parametrize(
    ("status", "slug", "body"),
    [
        (400, "json-invalid", b"{"),
        (400, "json-invalid", b'{"at": 1, "at": 2}'),
        (400, "json-invalid", b'{"at": "\xff"}'),
        (422, "members-wrong", b"[]"),
        (422, "members-wrong", b'{"at": "x"}'),
        (422, "members-wrong", json.dumps(EVENT | {"more": 1}).encode()),
        (422, "members-wrong", json.dumps(EVENT | {"payload": []}).encode()),
        (422, "at-invalid", json.dumps(EVENT | {"at": "2026-03-02T08:00:00"}).encode()),
        (422, "row-value-unknown", json.dumps(EVENT | {"at": "0001-01-01T00:00:00+07:00"}).encode()),
        (422, "row-value-unknown", json.dumps(EVENT | {"at": "9999-12-31T23:59:59-07:00"}).encode()),
        (422, "row-kind-unknown", json.dumps(EVENT | {"kind": "PINDAH"}).encode()),
        (422, "row-member-missing", json.dumps(EVENT | {"application_number": None}).encode()),
        (413, "body-too-large", b" " * (BODY_BYTES_MAX + 1)),
    ],
)
async def test_wrong_body_is_a_problem(door: Door, status: int, slug: str, body: bytes) -> None:
    answer = await door.post(body=body)
    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.json()["type"].endswith(f"/{slug}")
    assert await rows_in(door.spool) == []


async def test_other_methods_and_a_missing_key_are_problems(door: Door) -> None:
    answer = await door.http.get("/events")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await door.post(None)).status_code == 400


async def test_full_spool_is_told_so_that_the_caller_keeps_its_fact(tmp_path: Path) -> None:
    app = FastAPI()
    async with Spool.open(tmp_path / "spool.sqlite", AUTHOR, bytes_max=1, clock=utc_now) as spool:
        await spool.put()
        app.include_router(EventsDoor(spool, AUTHOR, [TOKEN.encode()], CollectorRegistry()).routes())
        async with served(app) as url, httpx.AsyncClient(base_url=url) as http:
            door = Door(http, spool, CollectorRegistry())
            assert (await door.post("K-1")).status_code == 202
            answer = await door.post("K-2")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "15")
            assert (await door.post("K-1")).status_code == 200


async def test_no_answer_repeats_what_was_sent(door: Door) -> None:
    body = EVENT | {"kind": "DITOLAK", "payload": REFUSED | {"alasan": "CANARY", "nomor_keputusan": "CANARY\n"}}
    answer = await door.post(body=body)
    assert answer.status_code == 422
    assert "CANARY" not in answer.text


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_body_breaks_the_reader(body: bytes) -> None:
    with pytest.raises(Problem):
        read_event(body, "K")


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("short", 0o600, "32 characters"),
        ("", 0o600, "one token"),
        (TOKEN, 0o644, "read by others"),
        (None, 0, "cannot be read"),
    ],
)
def test_token_file_that_cannot_be_used_is_told(tmp_path: Path, content: str | None, mode: int, says: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(SettingsFault, match=says):
        read_tokens(file, "EVENTS_TOKEN_FILE")
