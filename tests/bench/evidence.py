"""What the evidence log costs, how long a recommendation takes with its proof, how long a pack takes to be checked.

Two installations of the same hub pass the same days in turn, one without a log and one with it: what the neighbours of
a shared machine do to one, they do to the other. What the log costs is read off the processes that do nothing else
(the sequencer, the witness, and the sequencer's backends in PostgreSQL); the difference of the two says the same with
everything in it, the proofs that the relay adds too, and with all the noise.
"""

import asyncio
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from contracts.audit.pack import write_pack
from devstack.stack import Stack
from hub.audit import Exporter
from hub.release import look
from hub.trust import read_root
from tests.bench.agencies import REPOSITORY, Row, measure_apart
from tests.bench.figures import Span, Stopwatch, find_percentile, join
from tests.bench.installation import POLL_S, BenchFailed, Installation, install
from tests.bench.latency import measure_latencies
from tests.bench.sizes import find_growth, weigh_disk
from tests.bench.traffic import APPROVED, LIFE, Message, Traffic

SHARE_MAX = 0.05
PROVED_P99_MS_MAX = 300
PACK_S_MAX = 1.0
PROOF_P99_MS_MAX = 5
MONITOR_PER_S_MIN = 10_000
LOAD_SHARE = 0.5
DAYS = 6
# At small size they pass at once: the CPU time of one is less than the kernel's clock counts.
TOGETHER_SMALL = 6
PACK_TIMES = 5
COSIGNED_TIMEOUT_S = 20.0
LOG_PARTS = ("sequencer", "witness")


async def pass_day(installation: Installation, messages: Sequence[Message]) -> Span:
    """Let the hub do a day's messages, from the first send until everything can be read; return what it took."""
    encoded = installation.encode(messages)
    watch = Stopwatch(installation.meter.cpu_s())
    await installation.send(encoded)
    await installation.drain()
    return watch.stop(len(messages), installation.meter.cpu_s())


@dataclass(frozen=True, slots=True)
class Weighed:
    """The same days without a log and with it; `backends_s`: what the sequencer's part of PostgreSQL used in them."""

    plain: Span
    proved: Span
    backends_s: float

    def costs_us(self) -> dict[str, float]:
        """Return the CPU microseconds a message of what only the log does."""
        costs = self.proved.costs_us()
        return {part: costs[part] for part in LOG_PARTS} | {"postgresql": self.backends_s / self.proved.messages * 1e6}

    @property
    def share(self) -> float:
        """What the log's own processes use, as a share of what a message costs without a log."""
        return sum(self.costs_us().values()) / self.plain.cost_us

    @property
    def difference(self) -> float:
        """By how much a message with the log costs more than one without, everything included."""
        return self.proved.cost_us / self.plain.cost_us - 1


async def weigh(
    plain: Installation, proved: Installation, traffics: Sequence[Traffic], turns: int, together: int
) -> Weighed:
    """Pass the same days with both, in turns of so many days together."""
    spans: dict[Installation, list[Span]] = {plain: [], proved: []}
    backends_s = 0.0
    for _ in range(turns):
        for installation, traffic in zip((plain, proved), traffics, strict=True):
            before = _backends_cpu_s(await proved.list_sequencing())
            messages = [message for _ in range(together) for message in traffic.next_day()]
            spans[installation].append(await pass_day(installation, messages))
            if installation is proved:
                after = _backends_cpu_s(await proved.list_sequencing())
                backends_s += sum(used - before.get(pid, 0.0) for pid, used in after.items())
    await proved.check_all_accepted()
    return Weighed(join(spans[plain]), join(spans[proved]), backends_s)


def _backends_cpu_s(pids: Sequence[int]) -> dict[int, float]:
    return {pid: sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids if psutil.pid_exists(pid)}


async def measure_evidence(
    stack: Stack, *, cohort: int, seconds: float, small: bool
) -> tuple[dict[str, Any], list[Row]]:
    """Measure everything about the log; return the figures, and each beside its aim. Raises BenchFailed."""
    traffics = Traffic(cohort, "batch"), Traffic(cohort, "batch")
    async with (
        install(stack, traffics[0], "plain") as plain,
        install(stack, traffics[1], "proved", proofs=True) as proved,
    ):
        empty = await weigh_disk(proved)
        for installation, traffic in zip((plain, proved), traffics, strict=True):
            for _ in range(len(LIFE) - 1):
                await installation.send(installation.encode(traffic.next_day()))
            await installation.drain()
        weighed = await weigh(plain, proved, traffics, *((1, TOGETHER_SMALL) if small else (DAYS, 1)))
        load = weighed.proved.per_second * LOAD_SHARE
        # At least a day's, so that there are recommendations among what follows on the slowest machine.
        messages: list[Message] = list(traffics[1].next_day())
        while len(messages) < load * seconds:
            messages += traffics[1].next_day()
        messages = messages[: max(traffics[1].messages_a_day, round(load * seconds))]
        latencies = await measure_latencies(proved, messages, load)
        grown = find_growth(empty, await weigh_disk(proved))
        subject = next(message.subject for message in messages if message.type == APPROVED)
        pack = await measure_pack(proved, subject, 1 if small else PACK_TIMES)
    figures = {
        "plain": weighed.plain.describe(),
        "proved": weighed.proved.describe(),
        "log_us": weighed.costs_us(),
        "share": weighed.share,
        "difference": weighed.difference,
        "latency": describe_latencies(latencies, load),
        "pack": pack,
        "bytes": grown,
    } | await measure_apart("million", *(["--small"] if small else []))
    return figures, judge(figures)


def describe_latencies(latencies_s: Sequence[float], per_second: float) -> dict[str, Any]:
    """Return the percentiles for a JSON file."""
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "longest_ms": 1.0}
    found = {name: find_percentile(latencies_s, share) * 1_000 for name, share in shares.items()}
    return {"per_second": per_second, "recommendations": len(latencies_s)} | found


async def measure_pack(installation: Installation, subject: str, times: int) -> dict[str, Any]:
    """Export a case, and let the oversight body's own command verify it. Raises BenchFailed unless it proves all."""
    await _wait_for_cosignature(installation)
    root = read_root(installation.folder / "root.json")
    async with installation.database.snapshot() as connection:
        exported = await (await Exporter.open(connection, root, datetime.now(UTC))).export(subject)
    if exported is None:
        raise BenchFailed(f"There is no case {subject}.")
    file = installation.folder / "pack.json"
    file.write_bytes(write_pack(exported))
    before = _children_cpu_s()
    taken = [await _verify(installation, file) for _ in range(times)]
    cpu_s = (_children_cpu_s() - before) / times
    return {"bytes": file.stat().st_size, "seconds": median(taken), "longest_s": max(taken), "cpu_s": cpu_s}


def _children_cpu_s() -> float:
    """Return what the ended processes that this one waited for have used; no other ends while packs are verified."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def _wait_for_cosignature(installation: Installation) -> None:
    deadline = time.monotonic() + COSIGNED_TIMEOUT_S
    async with installation.database.connection() as connection:
        while True:
            if (await look(connection, installation.registry)).waiting_since is None:
                return
            if time.monotonic() > deadline:
                raise BenchFailed("The witness did not cosign the newest checkpoint.")
            await asyncio.sleep(POLL_S)


async def _verify(installation: Installation, file: Path) -> float:
    kept = installation.folder
    options = (
        "--root", kept / "root.json", "--log-key", kept / "log.vkey", "--witness-key", kept / "witness.vkey", file
    )  # fmt: skip
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "connectors.oversight", "verify", *map(str, options), cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise BenchFailed(f"The pack was not proven:\n{said.decode()}")
    return time.perf_counter() - began


def judge(figures: dict[str, Any]) -> list[Row]:
    """Return each figure beside its aim."""
    share, difference, latency = figures["share"], figures["difference"], figures["latency"]
    pack, proof, monitor = figures["pack"], figures["proof"], figures["monitor"]
    return [
        Row(
            "sequencer, witness, their PostgreSQL, of a message without log",
            f"{share:.1%}",
            f"<= {SHARE_MAX:.0%}",
            share <= SHARE_MAX,
            sum(figures["log_us"].values()),
        ),
        Row(
            "a message with log and proofs more than one without (noisy)",
            f"{difference:+.1%}",
            f"<= {SHARE_MAX:.0%}",
            difference <= SHARE_MAX,
            figures["proved"]["costs_us"]["relay"] - figures["plain"]["costs_us"]["relay"],
        ),
        Row(
            f"to the recommendation with its proof, {latency['per_second']:,.0f} messages/s: p99",
            f"{latency['p99_ms']:,.0f} ms",
            f"<= {PROVED_P99_MS_MAX} ms",
            latency["p99_ms"] <= PROVED_P99_MS_MAX,
        ),
        Row(
            "a pack verified, the command from start to end",
            f"{pack['seconds']:.2f} s",
            f"<= {PACK_S_MAX:.0f} s",
            pack["seconds"] <= PACK_S_MAX,
            pack["cpu_s"] * 1e6,
        ),
        Row(
            f"a proof from the tiles of {proof['leaves']:,} leaves: p99",
            f"{proof['p99_ms']:.2f} ms",
            f"< {PROOF_P99_MS_MAX} ms",
            proof["p99_ms"] < PROOF_P99_MS_MAX,
            proof["p99_cpu_ms"] * 1_000,
        ),
        Row(
            f"monitor, {monitor['leaves']:,} entries",
            f"{monitor['per_second']:,.0f}/s",
            f">= {MONITOR_PER_S_MIN:,}/s",
            monitor["per_second"] >= MONITOR_PER_S_MIN,
            1e6 / monitor["per_cpu_second"],
        ),
    ]
