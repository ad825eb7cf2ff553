"""The windows that queries are asked in: those of validation and test, and the later half of validation."""

from __future__ import annotations

from collections.abc import Sequence

from core.schema import Window
from features.counting.moments import as_us
from features.point_in_time.lookup import PointInTime

_END = 1 << 62


def query_windows(lookup: PointInTime, wanted: Sequence[Window]) -> dict[Window, tuple[int, int]]:
    """When each of the wanted windows opens and closes, microseconds since 1970.

    The later half of validation is left out where the window has one instant: nothing lies before it.
    """
    validation_at, test_at = as_us(lookup.cuts.validation_at), as_us(lookup.cuts.test_at)
    found: dict[Window, tuple[int, int]] = {"validation": (validation_at, test_at), "test": (test_at, _END)}
    half = later_half(lookup) if "validation_late" in wanted else None
    if half is not None:
        found["validation_late"] = half, test_at
    return {window: found[window] for window in wanted if window in found}


def later_half(lookup: PointInTime) -> int | None:
    """The instant from which on half of the validation window's first touches happened, microseconds since 1970.

    Touches of one instant are never torn apart: the later half opens with the first instant at or after the median that
    leaves one before it; None where there is none.
    """
    opens, closes = as_us(lookup.cuts.validation_at), as_us(lookup.cuts.test_at)
    (found,) = lookup.database.execute(
        f"""
        WITH touches AS (
            SELECT min(us) AS us FROM events WHERE us >= {opens} AND us < {closes} GROUP BY user_id, item_id
        )
        SELECT min(us) FROM touches
        WHERE us >= (SELECT quantile_disc(us, 0.5) FROM touches) AND us > (SELECT min(us) FROM touches)
        """
    ).fetchone()
    return None if found is None else int(found)
