"""Svix's error answers (facts/svix.md §1, Errors).

ApiError
├─ {"code", "detail"}                     the SDK's HttpError
└─ {"detail": [{"loc", "msg", "type"}]}   422, the SDK's HTTPValidationError
"""

from dataclasses import dataclass


class ApiError(Exception):
    """A refusal, with the status and the body that Svix answers."""

    def __init__(self, status: int, body: dict[str, object]) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing wrong with a request; `loc` says where."""

    loc: tuple[str, ...]
    msg: str
    type: str = "value_error"

    def out(self) -> dict[str, object]:
        return {"loc": list(self.loc), "msg": self.msg, "type": self.type}


def refused(status: int, code: str, detail: str) -> ApiError:
    return ApiError(status, {"code": code, "detail": detail})


def bad_request(code: str, detail: str) -> ApiError:
    return refused(400, code, detail)


def unauthorized(detail: str = "Invalid token") -> ApiError:
    return refused(401, "authentication_failed", detail)


def forbidden() -> ApiError:
    return refused(403, "insufficient access", "Insufficient access for the given operation.")


def not_found(detail: str = "Entity not found") -> ApiError:
    return refused(404, "not_found", detail)


def conflict(detail: str = "A conflict has occurred", code: str = "conflict") -> ApiError:
    return refused(409, code, detail)


def payload_too_large() -> ApiError:
    return refused(413, "payload_too_large", "Request payload is too large.")


def not_implemented() -> ApiError:
    return refused(501, "not_implemented", "This API endpoint is not yet implemented.")


def unprocessable(*flaws: Flaw) -> ApiError:
    return ApiError(422, {"detail": [flaw.out() for flaw in flaws]})
