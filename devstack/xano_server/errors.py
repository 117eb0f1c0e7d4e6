"""Xano's error bodies: `{"code", "message", "payload"}` (facts section 2.5)."""

from typing import Any

import orjson
from starlette.responses import Response


class XanoError(Exception):
    """A refusal in Xano's words."""

    def __init__(self, status: int, code: str, message: str, payload: Any = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "payload": payload}

    def response(self) -> Response:
        return Response(orjson.dumps(self.body), self.status, media_type="application/json")


def unknown_route() -> XanoError:
    """An unknown path and a wrong verb are one thing to Xano."""
    return XanoError(404, "ERROR_CODE_NOT_FOUND", "Unable to locate request.")


def no_such_row() -> XanoError:
    return XanoError(404, "ERROR_CODE_NOT_FOUND", "Not Found")


def missing(param: str) -> XanoError:
    return bad_input(f"Missing param: {param}", param)


def bad_input(message: str, param: str) -> XanoError:
    return XanoError(400, "ERROR_CODE_INPUT_ERROR", message, {"param": param})


def bad_request(message: str) -> XanoError:
    return XanoError(400, "ERROR_CODE_BAD_REQUEST", message)


def unauthorized(message: str = "Unauthorized") -> XanoError:
    return XanoError(401, "ERROR_CODE_UNAUTHORIZED", message)


def fatal(message: str) -> XanoError:
    return XanoError(500, "ERROR_FATAL", message)


def duplicate() -> XanoError:
    """Never a 409 (facts section 7.4, item 5)."""
    return fatal("Duplicate record detected.")


def too_many_requests() -> XanoError:
    """The words of facts section 2.10; what follows the first two sentences there is not known."""
    said = "Whoa there! Your plan only supports 10 requests per 20 seconds."
    return XanoError(429, "ERROR_CODE_TOO_MANY_REQUESTS", said)
