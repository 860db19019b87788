"""The foreign programs: which tools they need, and how each is made ready. Locks pin their packages by hash."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from devstack import jars

FOLDER = Path(__file__).parent
GO_VERSION_MIN = (1, 25)
JAVA_VERSION_MIN = 17
BUILD_LIMIT_S = 400
NIMBUS = jars.Wanted(
    "nimbus-10.10",
    ("com.nimbusds:nimbus-jose-jwt:10.10", "com.google.crypto.tink:tink:1.23.0"),
    FOLDER / "java" / "jars.lock",
)
# Go would fetch another compiler where go.mod asks for one; the machine's own has to do.
GO_ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
NPM_FLAGS = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit-lockfile-registry-resolved", "--loglevel=error")


@cache
def has_go() -> bool:
    """Whether there is a Go that is new enough."""
    found = _version("go", "env", "GOVERSION").removeprefix("go").split(".")
    return len(found) > 1 and all(part.isdigit() for part in found[:2]) and tuple(map(int, found[:2])) >= GO_VERSION_MIN


@cache
def has_node() -> bool:
    """Whether Node.js and npm are here."""
    return shutil.which("node") is not None and shutil.which("npm") is not None


@cache
def has_jdk() -> bool:
    """Whether there is a Java with its compiler, new enough to run a source file as it is."""
    found = _version("javac", "-version").removeprefix("javac ").split(".")[0]
    return found.isdigit() and int(found) >= JAVA_VERSION_MIN


def _version(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=_environment(), check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def build_go(target: Path) -> Path:
    """Build the Go programs into a folder and return it; go.sum holds every module's hash."""
    _run(["go", "build", "-trimpath", "-o", f"{target}{os.sep}", "./..."], FOLDER / "go")
    return target


def install_node(target: Path) -> Path:
    """Lay the JavaScript programs and the package that they use into a folder and return it."""
    shutil.copytree(FOLDER / "node", target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    _run(["npm", "ci", *NPM_FLAGS], target)
    return target


def nimbus_command() -> list[str]:
    """Return the command of the Java program, which is run from its source."""
    return ["java", "-cp", f"{jars.fetch_jars(NIMBUS)}{os.sep}*", str(FOLDER / "java" / "Nimbus.java")]


def _environment() -> dict[str, str]:
    return {**os.environ, **GO_ENVIRONMENT}


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=BUILD_LIMIT_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(command[:2])}: {done.stderr}{done.stdout}"
