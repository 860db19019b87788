"""Free TCP ports on 127.0.0.1."""

import random
import socket

# Below the range from which Linux and macOS take the ports of outgoing connections: a broker that is stopped and
# started again finds its port still free.
PORT_MIN = 20_000
PORT_MAX = 32_000
TRIES_MAX = 200
LOCALHOST = "127.0.0.1"


def find_free_ports(count: int) -> list[int]:
    """Return `count` different ports on which nothing listens now. Raises OSError if there are none."""
    # Seeded by the system, never by a test runner's seed: two runs at once must not walk the same ports.
    candidates = random.SystemRandom().sample(range(PORT_MIN, PORT_MAX), TRIES_MAX)
    free = [port for port in candidates if _is_free(port)]
    if len(free) < count:
        raise OSError(f"found {len(free)} free ports, {count} are needed")
    return free[:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Without it the connections of a server that has just ended count as a listener for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
    return True
