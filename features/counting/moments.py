"""Moments as whole microseconds since 1970: a float of seconds would lose the last digits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def as_us(moment: datetime) -> int:
    """Microseconds since 1970 of a moment with a time zone."""
    return (moment - EPOCH) // _MICROSECOND


def as_moment(us: int) -> datetime:
    """The moment, in UTC."""
    return EPOCH + timedelta(microseconds=us)
