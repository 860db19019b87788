"""Immigration's figure: `GET /valid` over HTTP with 100,000 recommendations, while the feed goes on.

    python -m tests.bench.immigration [--small]

The client is a process of its own that sends bytes over kept connections and reads until it has the answer; on each
the next question is sent when the last was answered.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from connectors.immigration.routes import Access, create_router
from connectors.immigration.standing_file import News
from connectors.link.log import configure_log
from tests.bench.figures import find_percentile
from tests.connectors.immigration_bench import Bench, opened
from tests.connectors.serving import served
from tests.contracts.samples import APPLICATION, SAMPLES

RECOMMENDATIONS = 100_000
QUESTIONS = 20_000
CONNECTIONS = 4
FEED_PAUSE_S = 0.05
BODY = json.dumps(SAMPLES["id.tka.hub.recommendation.issued.v1"])
CLIENT = """
import asyncio, json, random, sys, time
port, recommendations, questions, connections = map(int, sys.argv[1:])
times = []
async def ask(count, seed):
    chance = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(count):
        number = f"TKA-{chance.randrange(recommendations):012X}"
        began = time.perf_counter()
        writer.write(f"GET /valid?number={number} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\\r")[0])
        answer = json.loads(await reader.readexactly(length))
        times.append((time.perf_counter() - began) * 1e3)
        assert answer["status"] == "valid", answer
    writer.close()
async def main():
    began = time.perf_counter()
    await asyncio.gather(*(ask(questions // connections, seed) for seed in range(connections)))
    print(json.dumps({"times": times, "seconds": time.perf_counter() - began}))
asyncio.run(main())
"""


def run(small: bool) -> dict[str, Any]:
    """Measure; `small` only sees whether it works."""
    return {"valid": asyncio.run(measure_valid(*((500, 200) if small else (RECOMMENDATIONS, QUESTIONS))))}


async def measure_valid(recommendations: int, questions: int) -> dict[str, Any]:
    """Return how long answers took in milliseconds, how many came a second, and the CPU time of the door for one."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Path(folder)) as bench:
            fill(bench, recommendations)
            await bench.beat()
            app = FastAPI()
            access = Access(None, loopback=True)
            app.include_router(create_router(bench.desk, bench.standings, bench.offices, access, bench.clock))
            async with served(app) as address:
                feed = asyncio.create_task(go_on(bench, recommendations))
                used = time.process_time()
                try:
                    told = await ask(int(address.rpartition(":")[2]), recommendations, questions)
                finally:
                    feed.cancel()
                used_s = time.process_time() - used
    times = told["times"]
    return {
        "recommendations": recommendations,
        "questions": len(times),
        "per_second": len(times) / told["seconds"],
        "p50_ms": find_percentile(times, 0.5),
        "p99_ms": find_percentile(times, 0.99),
        "cpu_us": used_s / len(times) * 1e6,
    }


def news(bench: Bench, place: int) -> News:
    """Return the issue of one recommendation."""
    return News(f"TKA-{place:012X}", 1, "issued", APPLICATION, "JKT", bench.now, f"key-{place}", BODY)


def fill(bench: Bench, recommendations: int) -> None:
    """Keep so many recommendations, in one transaction."""
    file = bench.standings.read
    with file._transaction():
        for place in range(recommendations):
            file._keep_revision(news(bench, place))


async def go_on(bench: Bench, place: int) -> None:
    """Let the feed bring one recommendation after the other, beginning after `place`."""
    while True:
        place += 1
        await bench.standings.take(news(bench, place))
        await asyncio.sleep(FEED_PAUSE_S)


async def ask(port: int, recommendations: int, questions: int) -> dict[str, Any]:
    """Let another process ask; return what it measured."""
    numbers = [str(number) for number in (port, recommendations, questions, CONNECTIONS)]
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, *numbers, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await client.communicate()
    if client.returncode != 0:
        raise RuntimeError("the client failed")
    told: dict[str, Any] = json.loads(out)
    return told


if __name__ == "__main__":
    configure_log()
    print(json.dumps(run("--small" in sys.argv[1:])))
