"""The OpenAPI document of the bank's HTTP door: SNAP's three services, and what an operator may ask."""

from typing import Any

from contracts.reference.currencies import CURRENCIES
from tests.connectors.door_answers import PROBLEM

REFUSED_STATUSES = (400, 401, 404, 405, 408, 409, 500, 504)

_ANSWER = {
    "type": "object",
    "required": ["responseCode", "responseMessage"],
    "properties": {
        "responseCode": {"type": "string", "pattern": "^[0-9]{7}$"},
        "responseMessage": {"type": "string", "minLength": 1},
        "virtualAccountData": {"type": "object", "required": ["partnerServiceId", "customerNo", "virtualAccountNo"]},
        "accessToken": {"type": "string"},
    },
}
_BILLING = {"type": "object", "properties": {"billingCode": {"type": "string", "pattern": "^[0-9]{15}$"}}}
_ACCOUNT: dict[str, Any] = {
    "partnerServiceId": {"type": "string", "enum": ["   12345"]},
    "customerNo": {"type": "string", "enum": ["900000000017"]},
    "virtualAccountNo": {"type": "string", "enum": ["   12345900000000017"]},
    "additionalInfo": {
        **_BILLING,
        "required": ["billingCode"],
    },
}
_AMOUNT = {
    "type": "object",
    "required": ["value", "currency"],
    "properties": {
        "value": {"type": "string", "pattern": r"^[1-9][0-9]{0,15}\.[0-9]{2}$"},
        "currency": {"type": "string", "enum": sorted(CURRENCIES)},
    },
}
_PAYMENT = {
    **_ACCOUNT,
    "paymentRequestId": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,128}$"},
    "paidAmount": _AMOUNT,
    "trxId": {"type": "string", "maxLength": 64},
    "flagAdvise": {"type": "string", "enum": ["Y", "N"]},
    "channelCode": {"anyOf": [{"type": "string", "maxLength": 4}, {"type": "integer"}]},
    "billDetails": {"type": "array", "maxItems": 24, "items": {"type": "object"}},
}
_INQUIRY = {**_ACCOUNT, "inquiryRequestId": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,128}$"}}
_GRANT = {"grantType": {"type": "string", "enum": ["client_credentials"]}}


def _service(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    answer = {"content": {"application/json": {"schema": _ANSWER}}, "description": "SNAP's form"}
    body = {"type": "object", "required": required, "properties": properties}
    return {
        "post": {
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {str(status): answer for status in (200, *REFUSED_STATUSES)},
        }
    }


def _question(*names: str) -> dict[str, Any]:
    found = {"content": {"application/json": {"schema": {}}}, "description": "JSON"}
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {"get": {"parameters": parameters, "responses": {"200": found, "404": PROBLEM}}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "The bank's door", "version": "1"},
    "paths": {
        "/v1.0/access-token/b2b": _service(_GRANT, ["grantType"]),
        "/v1.0/transfer-va/inquiry": _service(_INQUIRY, list(_INQUIRY)),
        "/v1.0/transfer-va/payment": _service(_PAYMENT, [*_ACCOUNT, "paymentRequestId", "paidAmount"]),
        "/bills/{billing_code}": _question("billing_code"),
        "/payments/{payment_request_id}": _question("payment_request_id"),
        "/snap/refusals": _question(),
        "/snap/unclear": _question(),
    },
}
