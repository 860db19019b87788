"""The connector's HTTP door: liveness, readiness and metrics, beside whatever the agency's own code adds."""

from typing import Any

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from connectors.link.metrics import LinkMetrics
from connectors.link.spool import Spool
from connectors.link.subscriber import Subscriber
from connectors.link.trust import Trust

STATUS_OK = 200
STATUS_UNAVAILABLE = 503


def build_app(
    spool: Spool, trust: Trust, metrics: LinkMetrics, subscriber: Subscriber, routes: APIRouter | None
) -> FastAPI:
    """Return the application. Ready means: a fact that is handed over now can be stored durably."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def ready(response: Response) -> dict[str, Any]:
        status = await status_of(spool, trust, subscriber)
        response.status_code = STATUS_OK if status["ready"] else STATUS_UNAVAILABLE
        return status

    @app.get("/metrics")
    async def measure() -> Response:
        metrics.show_spool(await spool.status())
        return Response(generate_latest(metrics.collected), media_type=CONTENT_TYPE_LATEST)

    if routes is not None:
        app.include_router(routes)
    return app


async def status_of(spool: Spool, trust: Trust, subscriber: Subscriber) -> dict[str, Any]:
    """Return what /readyz shows: counts and states, nothing of a person.

    A stopped stream or an unreachable broker is shown but does not make the connector unready: the agency's facts
    must still find the spool's door open.
    """
    state = await spool.status()
    streams = subscriber.streams()
    places = {f"{each.topic}/{each.partition}": await spool.position(each.topic, each.partition) for each in streams}
    return {
        "ready": state.bytes_used < state.bytes_max,
        "registry_version": trust.registry.version,
        "spool": {
            "waiting": state.waiting,
            "signed": state.signed,
            "sent": state.sent,
            "accepted": state.accepted,
            "refused": state.refused,
            "set_aside": state.aside,
            "last_sequence": state.last_sequence,
            "bytes_used": state.bytes_used,
            "bytes_max": state.bytes_max,
            "journal_mode": state.journal_mode,
            "synchronous": state.synchronous,
        },
        "streams": places,
        "stopped_streams": dict(subscriber.stopped),
    }
