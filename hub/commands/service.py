"""migrate; run, intake, relay, deadlines, sequencer and api: what keeps the exchange going."""

import typer

from hub.commands.terminal import AsJson, print_json, print_line, wait_for, working
from hub.settings import read_settings
from hub.store import schema

app = typer.Typer()


def _start(*parts: str) -> None:
    # Imported late: the other commands need neither web server nor Kafka client, and start in half the time.
    from hub import assembly

    assembly.run(frozenset(map(assembly.Part, parts)), read_settings())


@app.command(epilog="Example: hub migrate")
def migrate(as_json: AsJson = False) -> None:
    """Bring the database to the schema that this hub needs. Safe to repeat."""
    settings = read_settings()
    with working("Migrating"):
        version = wait_for(schema.migrate(settings.database_url))
    if as_json:
        print_json({"schema": version})
    else:
        print_line(f"The database is at schema {version}.")


@app.command(epilog="Example: HUB_API_PORT=8080 hub run")
def run() -> None:
    """Run everything in one process, for a small installation; the sequencer if LOG_KEY_FILE is set. Logs to stderr."""
    sequencer = () if read_settings().log_key_file is None else ("sequencer",)
    _start("intake", "relay", "deadlines", "api", *sequencer)


@app.command(epilog="Example: METRICS_PORT=9101 hub intake")
def intake() -> None:
    """Take messages in from Kafka. Several may run and share the partitions."""
    _start("intake")


@app.command(epilog="Example: METRICS_PORT=9102 HUB_KEY_FILE=hub.pem hub relay")
def relay() -> None:
    """Sign and send what goes out. Several may run and share the topics. The only part that holds the hub's key."""
    _start("relay")


@app.command(epilog="Example: METRICS_PORT=9103 hub deadlines")
def deadlines() -> None:
    """Watch the clocks: deferred messages, timers, heartbeats. Of several, one acts and the others stand by."""
    _start("deadlines")


@app.command(epilog="Example: METRICS_PORT=9104 LOG_KEY_FILE=log.pem hub sequencer")
def sequencer() -> None:
    """Put the evidence log's leaves into its tree, sign checkpoints, have them cosigned. Of several, one acts."""
    _start("sequencer")


@app.command(epilog="Example: HUB_API_PORT=8080 hub api")
def api() -> None:
    """Serve the participants' machines over HTTP. Several may run behind a balancer."""
    _start("api")
