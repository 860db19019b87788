"""Who follows a how-to page command by command in a folder of their own, until their connector runs."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts.wire.envelope import Envelope, read_envelope
from tests.connectors.parties import eventually

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LIMIT_S = 60
RECORD_LIMIT_S = 60
LOAD_SETTINGS = "set -a; [ ! -f connector.env ] || . ./connector.env; set +a\n"


@dataclass(frozen=True)
class Page:
    """A page of docs/how-to."""

    text: str

    @classmethod
    def read(cls, name: str) -> "Page":
        return cls((ROOT / "docs" / "how-to" / name).read_text(encoding="utf-8"))

    def section(self, heading: str) -> str:
        return self.text.split(f"\n## {heading}", 1)[1].split("\n## ", 1)[0]

    def blocks(self, heading: str, language: str = "sh") -> list[str]:
        """Return the commands below a heading, in order."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.section(heading), re.MULTILINE | re.DOTALL)


@dataclass
class Engineer:
    """Who follows the page. `real`: the page's example values, and those of this machine.

    `door`: the port of the connector's door, as the page has it. `loads_settings`: whether each terminal has the
    settings loaded; otherwise the page's own commands do it where they need them.
    """

    page: Page
    folder: Path
    real: Mapping[str, str]
    door: str
    loads_settings: bool = True

    def really(self, text: str) -> str:
        for example, value in self.real.items():
            text = text.replace(example, value)
        return text

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(self.folder)}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.real[self.door]}"

    async def do(self, heading: str) -> str:
        """Run the commands below a heading as they stand; return what they print."""
        return "".join([await self.shell(block) for block in self.page.blocks(heading)])

    async def shell(self, block: str) -> str:
        # In a thread, since the hub that the command may call is served by this one's loop.
        return await asyncio.to_thread(self._shell, block)

    def _shell(self, block: str) -> str:
        done = subprocess.run(
            ["bash", "-ceu", (LOAD_SETTINGS if self.loads_settings else "") + self.really(block)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the connector as the page says, until its door answers; stop it in order afterwards."""
        [run] = self.page.blocks("7. Run")
        with (self.folder / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", f"{LOAD_SETTINGS}exec {run}", cwd=self.folder, env=self.environment, stderr=log
            )
        try:
            await eventually(self._answers)
            yield
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), COMMAND_LIMIT_S) == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def _answers(self) -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"{self.address}/healthz")).is_success
            except httpx.HTTPError:
                return False


async def read_message(bootstrap: str, topic: str, offset: int = 0) -> Envelope:
    """Return the message at this offset of a topic's only partition, once the broker holds it."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(topic, 0)
        consumer.assign([place])
        consumer.seek(place, offset)
        return read_envelope((await asyncio.wait_for(consumer.getone(place), RECORD_LIMIT_S)).value)
    finally:
        await consumer.stop()
