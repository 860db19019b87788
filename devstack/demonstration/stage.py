"""The running processes: started together, killed and started again, waited for, ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from devstack.demonstration.cast import AGENCIES, Cast, hub_environment, process_commands
from devstack.demonstration.persons import sign_proposal
from devstack.processes import Child, Children, StackError
from devstack.roles import name_role

POLL_S = 0.1
READY_LIMIT_S = 60.0
COMMAND_LIMIT_S = 60.0
REQUEST_LIMIT_S = 5.0


class Stage:
    """The processes of one run by name. `clock`: seconds since the run began, for what is said on the terminal."""

    def __init__(self, cast: Cast, children: Children, repository: Path, client: httpx.AsyncClient) -> None:
        self.cast = cast
        self.client = client
        self._children = children
        self._repository = repository
        self._commands = process_commands(cast)
        self._running: dict[str, Child] = {}
        self.kills: dict[str, int] = {}

    def start(self, *names: str) -> None:
        """Start processes at once; `wait_ready` tells when they serve."""
        for name in names:
            command, environment = self._commands[name]
            child = self._children.start(name, command, environment=environment, cwd=self._repository)
            self._running[name] = child

    @property
    def names(self) -> list[str]:
        """The names of all processes, started or not."""
        return list(self._commands)

    def pids(self) -> dict[str, int]:
        """Return the pids of the running processes by name."""
        return {name: child.pid for name, child in self._running.items()}

    def kill(self, name: str) -> None:
        """SIGKILL a process and start it again, as an operator's supervisor would."""
        self._running[name].kill()
        self.kills[name] = self.kills.get(name, 0) + 1
        self.start(name)

    async def wait_ready(self, *names: str) -> None:
        """Wait until processes serve. Raises StackError with the end of the log of one that does not."""
        await asyncio.gather(*(self._wait_ready(name) for name in names))

    async def _wait_ready(self, name: str) -> None:
        path = "/book" if name.startswith("agency-") else "/readyz"

        async def is_ready() -> bool:
            self.check_alive(name)
            try:
                response = await self.client.get(self.cast.url(name) + path, timeout=REQUEST_LIMIT_S)
            except httpx.HTTPError:
                return False
            return response.status_code == httpx.codes.OK

        await wait_until(f"{name} is ready", is_ready, READY_LIMIT_S)

    def check_alive(self, *names: str) -> None:
        """Raise StackError if a process has ended by itself."""
        for name in names or tuple(self._running):
            child = self._running[name]
            if not child.is_alive():
                raise StackError(f"{name} has ended with code {child.returncode}: {child.read_log_tail()}")

    async def run_hub(self, *arguments: str, line: str = "") -> str:
        """Run a command of the hub to its end and return what it printed. Raises StackError unless it exits 0.

        `line`: what it reads from its standard input.
        """
        command = self._commands["hub-api"][0][:3]
        environment = hub_environment(self.cast, role=name_role(arguments))
        return await self._run("hub", [*command, *arguments], environment, line)

    async def change_registry(self, name: str, *options: str) -> None:
        """Let the hub propose what a file of the cast asks for, both persons sign it, and the hub put it in force."""
        proposal = self.cast.folder / f"{name}.proposal"
        await self.run_hub("registry", "propose", str(self.cast.folder / name), "--out", str(proposal), *options)
        sign_proposal(proposal, self.cast.person_keys.values())
        await self.run_hub("registry", "apply", str(proposal))

    async def run_bank(self, bank: str, *arguments: str) -> str:
        """Run a command of a bank's connector, as `run_hub` does."""
        command, environment = self._commands[f"connector-{bank}"]
        return await self._run(f"connectors.bank of {bank}:", [*command[:3], *arguments], environment)

    async def _run(self, name: str, command: Sequence[str], environment: Mapping[str, str], line: str = "") -> str:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._repository,
            env=dict(environment),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said = f"{name} {' '.join(command[3:5])}"
        try:
            output, errors = await asyncio.wait_for(process.communicate(line.encode()), COMMAND_LIMIT_S)
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise StackError(f"{said} did not end within {COMMAND_LIMIT_S:.0f} s.") from error
        if process.returncode != 0:
            told = (errors or output).decode(errors="replace").strip()
            raise StackError(f"{said} failed with code {process.returncode}: {told}")
        return output.decode()

    async def begin_chapter(self, chapter: str, *agencies: str) -> None:
        """Ask simulators to play a chapter."""
        for agency in agencies:
            await self._post(agency, f"/chapters/{chapter}")

    async def take_down_immigration(self, seconds: int) -> None:
        """Ask Immigration's simulator to be unreachable for a while."""
        await self._post("immigration", f"/outages/{seconds}")

    async def _post(self, agency: str, path: str) -> None:
        response = await self.client.post(self.cast.url(f"agency-{agency}") + path, timeout=REQUEST_LIMIT_S)
        response.raise_for_status()

    async def read_status(self, name: str) -> dict[str, Any]:
        """Return what a process says of its own readiness."""
        content: dict[str, Any] = await self.ask(name, "/readyz")
        return content

    async def ask(self, name: str, path: str) -> Any:
        """Return what a process answers to a question."""
        response = await self.client.get(f"{self.cast.url(name)}{path}", timeout=REQUEST_LIMIT_S)
        return response.json()

    def read_logs(self) -> list[str]:
        """Return everything that any process has printed so far."""
        return [file.read_text(errors="replace") for file in sorted(self._children.log_dir.glob("*.log"))]

    async def read_metrics(self) -> list[str]:
        """Return what every process of the exchange shows at /metrics."""
        # The witness is the oversight body's, and keeps its figures to itself.
        addresses = [self.cast.url(name) for name in self._commands if not name.startswith(("agency-", "witness"))]
        shown = [await self.client.get(f"{address}/metrics", timeout=REQUEST_LIMIT_S) for address in addresses]
        for response in shown:
            response.raise_for_status()
        return [response.text for response in shown]

    async def read_books(self) -> dict[str, "Book"]:
        """Return every agency's own book."""
        return {agency: await self.read_book(agency) for agency in AGENCIES}

    async def read_book(self, agency: str) -> "Book":
        """Return one agency's own book."""
        response = await self.client.get(f"{self.cast.url(f'agency-{agency}')}/book", timeout=REQUEST_LIMIT_S)
        response.raise_for_status()
        content = response.json()
        return Book(content["played"], content["pages"])


class Book:
    """An agency's own book as it was read."""

    def __init__(self, played: list[str], pages: dict[str, dict[str, dict[str, Any]]]) -> None:
        self.played = played
        self._pages = pages

    def page(self, name: str) -> dict[str, dict[str, Any]]:
        """Return one page: what was noted, by key."""
        return self._pages.get(name, {})


async def wait_until(what: str, probe: Callable[[], Awaitable[bool]], limit_s: float) -> None:
    """Wait until `probe` is true. Raises StackError that names `what` when the limit is over."""
    deadline_s = time.monotonic() + limit_s
    while not await probe():
        if time.monotonic() > deadline_s:
            raise StackError(f"It was waited for {limit_s:.0f} s, in vain, until {what}.")
        await asyncio.sleep(POLL_S)
