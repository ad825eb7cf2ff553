"""What the variants of splits and canaries brought by day, in sums that outlast the prediction log; no ids are in them.

No alarm hangs on them: an experiment is younger than any quiet past, and its own figures have a test. They are its
course over time, by the figures by which the bundle in service is watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, TypeAdapter

from core.settings.form import Frozen
from core.storage import atomic_file

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

STORE = "variants.json"
FIGURES = ("ctr", "hit", "ndcg")  # as those of all answers
_SUMS = f"""
WITH units AS (
    SELECT day, experiment, variant, count(*) AS n_lists, {", ".join(f"avg({name}) AS {name}" for name in FIGURES)}
    FROM all_listed WHERE coalesce(experiment, '') <> '' GROUP BY day, experiment, variant, unit_id
)
SELECT day, experiment, variant, sum(n_lists), count(*),
    {", ".join(f"sum({one}), sum({one} * {one})" for one in FIGURES)}
FROM units GROUP BY day, experiment, variant
"""
# A shadow's failures are nobody's. Logs of before this was written down tell a shadow by what else it made.
_FAILED = """
SELECT CAST("at" AS DATE) AS day, experiment, variant, count(*) FROM answers
WHERE role = 'failed' AND day >= $since AND day < $until
    AND NOT coalesce(is_shadow, experiment IN (SELECT experiment FROM answers WHERE role = 'shadow'))
GROUP BY ALL
"""


class VariantDay(Frozen):
    """What one variant of an experiment, or the bundle in service beside it, brought on one day.

    Attributes:
        day: UTC.
        answers: Lists that were shown.
        failed: Lists that could not be made.
        users: Who were shown any; without an id each list is a user.
        figures: Of each of `FIGURES`, the sum over the users' own means, and the sum of squares.
    """

    day: date
    experiment: str
    variant: str
    answers: int = 0
    failed: int = 0
    users: int = 0
    figures: dict[str, tuple[float, float]] = Field(default_factory=dict)


_DAYS = TypeAdapter(list[VariantDay])
_Key = tuple[date, str, str]


def read_variant_days(folder: Path) -> list[VariantDay]:
    """What was summed up, the oldest day first."""
    path = folder / STORE
    return _DAYS.validate_json(path.read_bytes()) if path.exists() else []


def variant_days(tables: DuckDBPyConnection, since: date, until: date) -> list[VariantDay]:
    """Sum up the days of some lists.

    Args:
        tables: With `answers`, and `all_listed` of these days: a row per list that was shown.
        since, until: The first day, and the one after the last.
    """
    found: dict[_Key, VariantDay] = {}
    for day, experiment, variant, answers, users, *sums in tables.execute(_SUMS).fetchall():
        figures = {name: (sums[2 * place], sums[2 * place + 1]) for place, name in enumerate(FIGURES)}
        found[day, experiment, variant] = VariantDay(
            day=day, experiment=experiment, variant=variant, answers=int(answers), users=users, figures=figures
        )
    for day, experiment, variant, failed in tables.execute(_FAILED, {"since": since, "until": until}).fetchall():
        own = (day, experiment, variant)
        known = found.get(own, VariantDay(day=day, experiment=experiment, variant=variant))
        found[own] = known.model_copy(update={"failed": failed})
    return list(found.values())


def keep_variant_days(folder: Path, fresh: Sequence[VariantDay], oldest: date) -> None:
    """Keep days beside those that are known; of a day of which answers have left the log, the sums of before.

    Args:
        folder: Where sums are kept.
        fresh: Summed up now.
        oldest: Days before it go.
    """
    known = read_variant_days(folder)
    found: dict[_Key, VariantDay] = {(one.day, one.experiment, one.variant): one for one in fresh}
    for one in known:
        own = (one.day, one.experiment, one.variant)
        if own not in found or one.answers + one.failed > found[own].answers + found[own].failed:
            found[own] = one
    days = [found[own] for own in sorted(found) if own[0] >= oldest]
    if days != known:
        with atomic_file(folder / STORE) as temporary:
            temporary.write_bytes(_DAYS.dump_json(days))


def window_figures(days: Sequence[VariantDay], last: date, n_days: int) -> dict[tuple[str, str], dict[str, float]]:
    """The figures of each experiment and variant over the days up to one; none where nothing was asked of it.

    Args:
        days: Of any time.
        last: The newest day.
        n_days: How many there are with it.
    Returns:
        By experiment and variant: the share of lists that failed, and, where any was shown, means over users' days.
    """
    first, found = last - timedelta(days=n_days - 1), dict[tuple[str, str], list[VariantDay]]()
    for one in days:
        if first <= one.day <= last:
            found.setdefault((one.experiment, one.variant), []).append(one)
    return {own: _figures(mine) for own, mine in found.items()}


def _figures(days: Sequence[VariantDay]) -> dict[str, float]:
    failed, shown, users = (sum(getattr(one, name) for one in days) for name in ("failed", "answers", "users"))
    told = {"failed_share": failed / (failed + shown)} if failed + shown else {}
    if users:
        told["users"] = float(users)
        told |= {name: sum(one.figures[name][0] for one in days if one.users) / users for name in FIGURES}
    return told
