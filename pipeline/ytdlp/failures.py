"""How a job of the downloader's child can end other than well, told by what was raised."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, TransportError
from yt_dlp.utils import ContentTooShortError, YoutubeDLError

from pipeline.ytdlp.network import PrivateAddressError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_TOO_MANY_REQUESTS = 429
_FORBIDDEN = 403
_SERVER_ERROR = 500
_WANTS_A_HUMAN = re.compile(r"not an? (ro)?bot|captcha|unusual traffic", re.IGNORECASE)
# yt-dlp says so of a download when it has tried enough, and hides what it met behind it.
_BROKE_OFF = "Got error: "


class LeftAloneError(Exception):
    """A site asks to be left alone.

    No error of yt-dlp's, so that yt-dlp does not ask it again at once.

    Args:
        retry_after_s: for how long; 0 if it does not say.
    """

    def __init__(self, status: int, retry_after_s: float) -> None:
        asks = f"for {retry_after_s:.0f} s" if retry_after_s else "without a time"
        super().__init__(f"HTTP {status}: the site asks to be left alone, {asks}")
        self.retry_after_s = retry_after_s


class TooLargeError(Exception):
    """More bytes than the job allows."""


class LiveError(Exception):
    """A stream that has not ended."""


class UnwantedError(Exception):
    """The opt-out list names the video; the message is the entry."""


EXPECTED = (YoutubeDLError, OSError, LeftAloneError, TooLargeError, LiveError, UnwantedError)
"""What a job can meet; anything else is a bug."""


def left_alone(error: HTTPError) -> LeftAloneError | None:
    """Whether an answer asks for peace: 429, or a server's error that says when to come again."""
    told_s = retry_after_s(error.response.headers.get("Retry-After"), datetime.now(UTC))
    if error.status == _TOO_MANY_REQUESTS:
        return LeftAloneError(error.status, told_s or 0.0)
    return LeftAloneError(error.status, told_s) if error.status >= _SERVER_ERROR and told_s else None


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """A `Retry-After` in seconds: a number of them, or a date (RFC 9110, section 10.2.3)."""
    header = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,10}", header):
        return float(header)
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - now).total_seconds())


def answer_of(error: BaseException) -> dict[str, Any]:
    """The answer to a job that failed."""
    detail = next((line for line in str(error).removeprefix("ERROR: ").splitlines() if line), repr(error))
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case UnwantedError():
                return {"rejected": "opt_out", "detail": str(cause)}
            case LeftAloneError():
                return _failure("throttled", str(cause), passing=True, retry_after_s=cause.retry_after_s)
            case PrivateAddressError():
                return _failure("unavailable", str(cause))
            case TooLargeError():
                return _failure("unsafe", str(cause))
            case LiveError():
                return _failure("unavailable", str(cause))
            case OSError() if cause.errno in _FULL:
                return {"full": str(cause.strerror)}
            case HTTPError():
                if cause.status == _FORBIDDEN:
                    # It may be of the moment; that nobody asks on and on is for the budget.
                    return _failure("throttled", detail, passing=True)
                return _failure("unavailable", detail, passing=cause.status >= _SERVER_ERROR)
            case CertificateVerifyError():
                return _failure("unavailable", detail)
    if _WANTS_A_HUMAN.search(detail):
        return _failure("throttled", detail, passing=True)
    if any(isinstance(cause, TimeoutError) for cause in causes) or "timed out" in detail:
        return _failure("timeout", detail, passing=True)
    broke_off = any(isinstance(cause, TransportError | ContentTooShortError) for cause in causes)
    return _failure("unavailable", detail, passing=broke_off or _BROKE_OFF in detail)


def _failure(
    failure: str, detail: str, *, passing: bool = False, retry_after_s: float | None = None
) -> dict[str, Any]:
    return {"failure": failure, "detail": detail, "passing": passing, "retry_after_s": retry_after_s}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while isinstance(error, BaseException) and id(error) not in seen:
        seen.add(id(error))
        yield error
        wrapped = getattr(error, "exc_info", None)
        cause = getattr(error, "cause", None)
        below = error.__cause__ or (wrapped[1] if wrapped else None) or error.__context__
        error = below or (cause if isinstance(cause, BaseException) else None)
