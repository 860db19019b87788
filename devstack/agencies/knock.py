"""Knock at a door of the demo from a terminal; it needs nothing that Python does not bring along.

    python -m devstack.agencies.knock URL          asks, and prints the answer
    python -m devstack.agencies.knock URL FILE     hands in the JSON of FILE (- is standard input), prints the answer

Exit codes: 0 answered, 1 turned away, 2 wrong use, 3 nobody there.
"""

import http.client
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

TIMEOUT_S = 100.0
EXIT_TURNED_AWAY, EXIT_WRONG_USE, EXIT_NOBODY = 1, 2, 3


def knock(url: str, body: bytes | None) -> tuple[int, str]:
    """Ask (or hand in `body`) and return the status and the answer as text. Raises OSError, HTTPException."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port or 80, timeout=TIMEOUT_S)
    try:
        path = f"{target.path or '/'}{'?' if target.query else ''}{target.query}"
        connection.request("GET" if body is None else "POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Knock once and print what is answered."""
    if len(arguments) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return EXIT_WRONG_USE
    body = None
    if len(arguments) == 2:
        body = sys.stdin.buffer.read() if arguments[1] == "-" else Path(arguments[1]).read_bytes()
    try:
        status, text = knock(arguments[0], body)
    except (OSError, http.client.HTTPException) as error:
        print(f"Nobody answers there ({type(error).__name__}).", file=sys.stderr)
        return EXIT_NOBODY
    try:
        print(json.dumps(json.loads(text), indent=1, ensure_ascii=False))
    except ValueError:
        print(text.rstrip())
    return 0 if status < http.client.BAD_REQUEST else EXIT_TURNED_AWAY


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
