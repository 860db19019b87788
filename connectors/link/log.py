"""How a connector logs: one JSON object a line on standard error, its own words and the libraries'; never a content.

A library's traceback may quote a record, so that of a library only the line itself and the error's kind are kept.
"""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_log() -> None:
    """Send this connector's log, and the libraries' from WARNING on, to standard error in one form."""
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    tidy: list[Processor] = [
        drop_traceback,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.JSONRenderer(),
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=tidy))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def drop_traceback(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Keep of an error that a library logs its kind alone."""
    error = event.pop("exc_info", None)
    if isinstance(error, tuple) and error[0] is not None:
        event["kind"] = error[0].__name__
    return event
