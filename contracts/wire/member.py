"""Members of the documents that people sign: a closed object, and the forms that its texts and numbers have."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from contracts.wire.instant import read_instant


def form(pattern: str) -> AfterValidator:
    """Return the check that a text is of this form from its beginning to its end."""
    fits = re.compile(pattern).fullmatch

    def check(text: str) -> str:
        if fits(text) is None:
            raise ValueError("not of the form that is asked")
        return text

    return AfterValidator(check)


def _instant_text(text: str) -> str:
    read_instant(text)
    return text


Name = Annotated[str, form(r"[a-z][a-z0-9-]{0,31}")]
Hex = Annotated[str, form(r"[0-9a-f]{64}")]
Thumbprint = Annotated[str, form(r"[A-Za-z0-9_-]{43}")]
Instant = Annotated[str, AfterValidator(_instant_text)]
Positive = Annotated[int, Field(ge=1, le=2**31 - 1)]
Label = Annotated[str, Field(min_length=1, max_length=200)]


class Part(BaseModel):
    """An object that has these members and no other."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def describe_invalid(error: ValidationError) -> str:
    """Return where an object is not as it must be and what rule it breaks, without the value that stands there."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{'.'.join(str(step) for step in first['loc'])}: {first['type']}"
