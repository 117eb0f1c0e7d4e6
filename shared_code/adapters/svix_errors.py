"""Every way in which the Svix SDK can fail, as one of two of ours (facts/svix.md §0)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import aiohttp
import aiohttp.http
import httpx
from svix.exceptions import HttpError, HTTPValidationError

from shared_code import errors
from shared_code.ports import Refused

NEVER = (400, 413, 422)
"""The same call will be answered the same."""

answered: ContextVar[int] = ContextVar("svix_status", default=0)
"""The status of the last answer to this task."""

logger = logging.getLogger("pinksync.svix")


class Missing(errors.WebhookServiceUnavailable):
    """Svix answered 404: the application, endpoint or message is not there."""


class Taken(errors.WebhookServiceUnavailable):
    """Svix answered 409: this uid or eventId is there already."""


@contextmanager
def translated() -> Iterator[None]:
    """The SDK's failures as ours. An answer it cannot parse is an unavailable service, never a crash."""
    answered.set(0)
    try:
        yield
    except HTTPValidationError as error:
        raise Refused("422 from the webhook service") from error
    except HttpError as error:
        raise kind(error.status_code) from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:  # pydantic's and JSON's too
        logger.error("the webhook service answered what its SDK cannot read: %s", type(error).__name__)
        if answered.get() in NEVER:
            raise kind(answered.get()) from error
        raise errors.WebhookServiceUnavailable() from error
    except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, aiohttp.http.HttpProcessingError) as error:
        raise errors.WebhookServiceUnavailable() from error


async def note_status(response: httpx.Response) -> None:
    """The SDK hides the status of an error whose body it cannot read (facts/svix.md §0)."""
    answered.set(response.status_code)


def kind(status: int) -> Exception:
    if status == 404:
        return Missing()
    if status == 409:
        return Taken()
    if status in NEVER:
        return Refused(f"{status} from the webhook service")
    if status in (401, 403):
        logger.error("the webhook service refuses our token (%d): check SVIX_TOKEN", status)
    return errors.WebhookServiceUnavailable()
