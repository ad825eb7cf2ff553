"""What a bundle's lists would have brought, though they were not shown: estimated from lists that explored.

Such a list holds with a logged chance what the other bundle would have shown. The other bundle's list is that of its
shadow, computed for the same request at the same moment. `recommender.metrics.off_policy` has the estimators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from core.experiments import Experiment, ExperimentError
from core.logs.events import EventLog
from core.settings.monitoring import ExperimentSettings
from monitoring.online.intervals import Interval
from monitoring.online.sequential import MIN_USERS
from monitoring.online.shown import log_lost, open_shown
from monitoring.online.window import moment_of
from recommender.metrics.off_policy import Estimate, effective_sample_size, estimate, importance_weights

SEED = 0
# An item's clicks are taken for those of an average one until so many were expected of it.
_PRIOR_CLICKS = 10.0
# Below it an interval is of a handful of lists, and says less than it seems to.
_FEW_LISTS = 100
# A mean weight is apart from 1 by more than this, and than so many of its standard errors.
_APART, _ERRORS = 0.1, 4.0
_LISTS = """
WITH clicks AS (
    SELECT recommendation_id, list(item_id) AS clicked FROM clicked WHERE NOT is_pinned GROUP BY recommendation_id
),
beside AS (
    SELECT recommendation_id, any_value(items) AS items FROM answers
    WHERE role = 'shadow' AND experiment = $experiment AND variant = $variant GROUP BY recommendation_id
)
SELECT coalesce(a.who, a.recommendation_id), a.items, CASE WHEN a.seed_given THEN NULL ELSE a.propensities END,
    coalesce(c.clicked, []), b.items
FROM answers a JOIN beside b USING (recommendation_id) LEFT JOIN clicks c USING (recommendation_id)
WHERE a.role = 'shown' AND a."at" <= $closed ORDER BY a."at", a.recommendation_id
"""


@dataclass(frozen=True, slots=True)
class LoggedList:
    """A list that was shown.

    Attributes:
        who: A user, a visitor, or, without any id, the answer.
        propensities: Of each item at its place, given those above it; None where nothing was drawn.
        clicked: Items of it, but for pinned ones: these any bundle's list would have had.
        beside: The list that a shadow computed for the same request; None where none did.
    """

    who: str
    items: Sequence[str]
    propensities: Sequence[float | None] | None
    clicked: Sequence[str] = ()
    beside: Sequence[str] | None = None

    def chances(self, places: int) -> list[float] | None:
        """The propensities of the first places, 1 beyond the end of the list; None where one is not known."""
        found = [] if self.propensities is None else list(self.propensities[:places])
        known = [one for one in found if one is not None and 0 < one <= 1]
        if self.propensities is None or len(known) < min(places, len(self.items)):
            return None
        return known + [1.0] * (places - len(known))


Target = Callable[[LoggedList], Sequence[str]]


class OffPolicyFigures(BaseModel):
    """Clicks per list on its first places, that a bundle's lists would have brought.

    Attributes:
        variant: The bundle, by its name in the experiment; empty where it has none.
        places: How many places count.
        lists: That explored, and whose time for clicks is over; of how many users.
        not_explored: Lists that were left out: what was shown was not drawn by a known chance, as where nothing was
            drawn, or the client named the seed.
        lost_until: Up to when lists that would count are gone, as they were too old or too many for the log; None where
            it has them all since the start.
        clip: No weight is larger; None for no limit.
        logged: What the lists brought as they were shown.
        ips, snips, doubly_robust: What the bundle's would have; None where `note` says why there is no estimate.
        effective: So many lists of the bundle's own would be as sure, by the number of first places.
        support: Mean weight, by the number of first places. The log could show the bundle's lists if it is near 1;
            below, that share of them.
    """

    model_config = ConfigDict(frozen=True)

    variant: str
    places: int
    lists: int = 0
    users: int = 0
    not_explored: int = 0
    lost_until: str | None = None
    clip: float | None = None
    logged: Interval | None = None
    ips: Interval | None = None
    snips: Interval | None = None
    doubly_robust: Interval | None = None
    effective: tuple[float, ...] = ()
    support: tuple[float, ...] = ()
    note: str = ""


def estimate_shadow(
    experiment: Experiment,
    log: Path,
    events: EventLog,
    settings: ExperimentSettings,
    places: int,
    clip: float | None = None,
) -> list[OffPolicyFigures]:
    """What each variant of a shadow experiment would have brought, had it been shown.

    Args:
        experiment: A shadow, running or stopped.
        log: The folder of the prediction log.
        events: The service's event log.
        settings: What counts as a click, and until when.
        places: How many of a list's first places count.
        clip: No weight is larger.
    Raises:
        ExperimentError: it is no shadow: its lists were shown, and have figures of their own.
        PredictionLogError, EventLogError: a log cannot be read.
    """
    if experiment.kind != "shadow":
        raise ExperimentError(
            "Cannot estimate",
            got=f"kind={experiment.kind}",
            expected="shadow: the variants of others were shown",
            do=f"See what they brought: sommelier experiments show {experiment.name}",
        )
    window_s = settings.click_window_s
    closed = datetime.now(UTC) - timedelta(seconds=window_s)
    found = []
    since = moment_of(experiment.started_at)
    with open_shown(log, events, settings.clicks, window_s, since=since) as (tables, _):
        lost = log_lost(log).until
        gone = None if lost is None or lost <= since else lost.isoformat(timespec="seconds")
        for variant in experiment.variants:
            asked = {"experiment": experiment.name, "variant": variant.name, "closed": closed}
            rows = [LoggedList(*row) for row in tables.execute(_LISTS, asked).fetchall()]
            figures = estimate_lists(rows, lambda one: one.beside or (), places, clip)
            found.append(figures.model_copy(update={"variant": variant.name, "lost_until": gone}))
    return found


def estimate_lists(
    rows: Sequence[LoggedList], target: Target, places: int, clip: float | None = None
) -> OffPolicyFigures:
    """What other lists would have brought in the place of the logged ones.

    Args:
        rows: As they were shown.
        target: The list that would have been shown, best first.
        places: How many of a list's first places count.
        clip: No weight is larger.
    """
    drawn = Drawn.of(rows, places)
    figures = OffPolicyFigures(
        variant="",
        places=places,
        lists=len(drawn.rows),
        users=drawn.n_users,
        not_explored=len(rows) - len(drawn.rows),
        clip=clip,
    )
    if drawn.note:
        return figures.model_copy(update={"note": drawn.note})
    return figures.model_copy(update=_estimated(drawn, target, clip))


@dataclass(frozen=True, slots=True)
class Drawn:
    """Lists that were drawn by known chances.

    Attributes:
        rows: Those lists.
        places: How many of a list's first places count.
        shown: Item ids. Shape (n, k).
        logged: Chances. Shape (n, k).
        rewards: Clicks. Shape (n, k).
        users: Number of each list's user, from 0. Shape (n,).
        note: Why they say nothing, a sentence; empty where they do.
    """

    rows: Sequence[LoggedList]
    places: int
    shown: np.ndarray
    logged: np.ndarray
    rewards: np.ndarray
    users: np.ndarray
    note: str = ""

    @property
    def n_users(self) -> int:
        """Of how many users they are."""
        return int(self.users.max()) + 1 if len(self.users) else 0

    @classmethod
    def of(cls, rows: Sequence[LoggedList], places: int) -> Drawn:
        """Those of some lists whose chances on the first places are known."""
        drawn = [(row, chances) for row in rows if (chances := row.chances(places)) is not None]
        kept = [row for row, _ in drawn]
        logged = np.array([chances for _, chances in drawn], dtype=np.float64).reshape(-1, places)
        _, users = np.unique([row.who for row in kept], return_inverse=True)
        shown = np.array([first_items(row.items, places) for row in kept]).reshape(-1, places)
        rewards = [[item in row.clicked for item in first_items(row.items, places)] for row in kept]
        n_users, note = int(users.max()) + 1 if len(users) else 0, ""
        if not len(logged) or logged.min() == 1.0:
            note = f"No estimate: none of {len(rows)} lists explored, so that only what was shown could have been. "
            note += "Ask for lists with exploration."
        elif n_users < MIN_USERS:
            note = f"No estimate yet: lists that explored are of {n_users} users, expected {MIN_USERS} at least."
        clicks = np.array(rewards, dtype=float).reshape(-1, places)
        return cls(kept, places, shown, logged, clicks, users, note)

    def wanted(self, target: Target) -> np.ndarray:
        """What other lists hold at the same places. Shape (n, k)."""
        return np.array([first_items(target(row), self.places) for row in self.rows])

    def weights(self, wanted: np.ndarray, clip: float | None = None) -> np.ndarray:
        """Of each list's places. Shape (n, k)."""
        return importance_weights((self.shown == wanted).astype(np.float64), self.logged, clip)


def _estimated(drawn: Drawn, target: Target, clip: float | None) -> dict[str, Any]:
    """The figures of a log that says something."""
    wanted = drawn.wanted(target)
    weights = drawn.weights(wanted, clip)
    if not weights[:, -1].any():
        note = f"No estimate: none of {len(drawn.rows)} lists that explored has the bundle's first {drawn.places} "
        return {"note": note + "items. Count fewer places, or explore more."}
    modelled, expected = model_clicks(drawn.rewards, drawn.shown, wanted, drawn.users)
    found = estimate(drawn.rewards, weights, modelled, expected, drawn.users, SEED)
    effective, support = effective_sample_size(weights), weights.mean(axis=0)
    return {
        "logged": interval_of(found.logged),
        "ips": interval_of(found.ips),
        "snips": interval_of(found.snips),
        "doubly_robust": interval_of(found.doubly_robust),
        "effective": tuple(float(one) for one in effective),
        "support": tuple(float(one) for one in support),
        "note": _caution(len(drawn.rows), float(effective[-1]), float(support[-1])),
    }


def model_clicks(
    rewards: np.ndarray, shown: np.ndarray, wanted: np.ndarray, users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Expected clicks on what was shown, and on what the other lists hold, learned from the other half of the users.

    The rate of the place times what the item brings beside an average one: (clicks + m) / (expected clicks + m).

    Args:
        rewards: Clicks. Shape (n, k).
        shown, wanted: Item ids. Shape (n, k).
        users: Number of each list's user. Shape (n,).
    Returns:
        Shapes (n, k).
    """
    items, code = np.unique(np.concatenate([shown, wanted]), return_inverse=True)
    of_shown, of_wanted = code.reshape(2, *shown.shape)
    modelled, expected = np.zeros_like(rewards), np.zeros_like(rewards)
    for half in (0, 1):
        mine = users % 2 == half
        rates = rewards[~mine].mean(axis=0)
        theirs = of_shown[~mine].ravel()
        clicks = np.bincount(theirs, rewards[~mine].ravel(), minlength=len(items))
        awaited = np.bincount(theirs, np.broadcast_to(rates, rewards[~mine].shape).ravel(), minlength=len(items))
        appeal = (clicks + _PRIOR_CLICKS) / (awaited + _PRIOR_CLICKS)
        modelled[mine], expected[mine] = rates * appeal[of_shown[mine]], rates * appeal[of_wanted[mine]]
    return modelled, expected


def first_items(items: Sequence[str], places: int) -> list[str]:
    """The first items; nothing stands at the places beyond the list's end."""
    return [*items[:places], *[""] * (places - len(items))]


def interval_of(found: Estimate) -> Interval:
    return Interval(value=found.value, low=found.low, high=found.high)


def _caution(n_lists: int, effective: float, support: float) -> str:
    """What stands against trusting an estimate; empty where nothing does."""
    found = []
    if effective < _FEW_LISTS:
        found.append(
            f"Worth {effective:.0f} lists of its own, expected {_FEW_LISTS}: too few to decide on, whatever the "
            "interval."
        )
    if is_apart(n_lists, effective, support):
        why = (
            "lists were not drawn by the chances that are logged"
            if support > 1.0
            else "the rest of the bundle's lists could not be shown, or weighs more than the limit"
        )
        found.append(f"The mean weight is {support:.2f}, expected 1: {why}.")
    return " ".join(found)


def is_apart(n_lists: int, effective: float, support: float) -> bool:
    """Whether a mean weight is surely not 1: the log could not show all of the lists, or its chances are wrong."""
    error = support * max(1.0 / effective - 1.0 / n_lists, 0.0) ** 0.5
    return abs(support - 1.0) > max(_APART, _ERRORS * error)
