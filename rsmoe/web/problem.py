"""An error that a client gets, in OpenAI's form."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from starlette.responses import JSONResponse

from rsmoe.cli.terminal import printable

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Problem(Exception):
    """What was wrong with a request.

    Args:
        status: of HTTP.
        message: what was given, what was expected, what to send next.
        param: the field of the request, where it is one.
        code: a word for programs.
    """

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    @classmethod
    def of(cls, error: ValidationError, *, within: str = "") -> Problem:
        """Status 400 for the first thing that is wrong with a body.

        Args:
            within: the field that was read.
        """
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, (*((within,) if within else ()), *first["loc"])))
        return cls(400, f"{place or 'body'}: {first['msg']}", param=place or None)

    @property
    def content(self) -> dict[str, Any]:
        """``{"error": {"message", "type", "param", "code"}}``, control characters written out."""
        kind = _TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"error": {"message": printable(str(self)), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """The same with its status; where the body may not have been read to its end, the connection is closed."""
        headers = {"Connection": "close"} if self.status in (408, 413, 429) else {}
        headers |= {"Retry-After": "1"} if self.status == 429 else {}
        return JSONResponse(self.content, status_code=self.status, headers=headers)
