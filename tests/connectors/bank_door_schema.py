"""The OpenAPI document of a bank connector's own door: bills, payments, and differences with their explanations."""

from typing import Any

from tests.connectors.door_answers import PROBLEM, TAKEN
from tests.contracts.samples import SAMPLES

DIFFERENCE = str(SAMPLES["id.tka.hub.difference.opened.v1"]["difference_id"])
BILLING_CODE = str(SAMPLES["id.tka.hub.bill.opened.v1"]["billing_code"])

_OBJECT = {"type": "object"}
_LIST = {"type": "array", "items": {"type": "object"}}
# Narrow, so that a good explanation is among the calls; test_bank_explain.py tries what else may stand in a body.
_EXPLANATION = {
    "type": "object",
    "additionalProperties": False,
    "required": ["code", "text"],
    "properties": {"code": {"enum": ["SETTLEMENT_PENDING", ""]}, "text": {"type": "string", "maxLength": 80}},
}


def _parameter(name: str, place: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _question(found: dict[str, Any], *parameters: dict[str, Any], missing: bool = False) -> dict[str, Any]:
    answers = {"200": {"description": "what was asked for", "content": {"application/json": {"schema": found}}}}
    if missing:
        answers |= {"404": PROBLEM}
    return {"get": {"parameters": list(parameters), "responses": answers}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "A bank connector's own door", "version": "1"},
    "paths": {
        "/bills/{billing_code}": _question(
            {"type": "object", "required": ["state", "told_at"]},
            _parameter("billing_code", "path", {"enum": [BILLING_CODE, "000000000000000", "x"]}),
            missing=True,
        ),
        "/payments/{payment_request_id}": _question(
            _OBJECT,
            _parameter("payment_request_id", "path", {"type": "string", "minLength": 1}),
            _parameter("partner_id", "query", {"type": "string"}),
            missing=True,
        ),
        "/snap/refusals": _question(_LIST),
        "/snap/unclear": _question(_LIST),
        "/differences": _question(_LIST),
        "/differences/{difference_id}/explanation": {
            "post": {
                "parameters": [_parameter("difference_id", "path", {"enum": [DIFFERENCE, "unknown"]})],
                "requestBody": {"required": True, "content": {"application/json": {"schema": _EXPLANATION}}},
                "responses": {
                    "200": TAKEN,
                    "202": TAKEN,
                    **{str(status): PROBLEM for status in (400, 401, 404, 405, 413, 415, 422)},
                },
            }
        },
    },
}
