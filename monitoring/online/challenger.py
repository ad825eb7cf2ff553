"""A candidate's lists and those of the bundle in service, by what users clicked on lists that explored.

Lists that the bundle in service showed since both learned are asked again: each bundle makes its own list, as long as
the request wanted it, without exploration, for the same user as the clean tables know them just before that moment, and
of the items as of that day.
Clicks that both would have brought are estimated by `recommender.metrics.off_policy`.
Lists that rules of a request touched, and those of a request with filters, are left out. What else a request alone
said, as its session, is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from core.logs.events import EventLog
from core.logs.pruning import segments_of
from core.settings.evaluation import OffPolicySettings
from core.settings.form import Frozen
from monitoring.online.intervals import Interval
from monitoring.online.off_policy import (
    SEED,
    Drawn,
    LoggedList,
    OffPolicyFigures,
    Target,
    estimate_lists,
    interval_of,
    is_apart,
    model_clicks,
)
from monitoring.online.shown import has_explored, open_shown
from recommender.inputs.user import UserState
from recommender.metrics.off_policy import estimate_difference

_BATCH = 256
_DAY_S = 24 * 3600
_LISTS = """
WITH clicks AS (SELECT recommendation_id, list(item_id) AS clicked FROM clicked GROUP BY recommendation_id)
SELECT a.user_id, a.items[:$places], a.propensities[:$places], coalesce(c.clicked, []), a."at",
    coalesce(nullif(a.k, 0), len(a.items)), count(*) OVER ()
FROM answers a LEFT JOIN clicks c USING (recommendation_id)
WHERE a.role = 'shown' AND a.model = $model AND a.user_id IS NOT NULL AND a.propensities IS NOT NULL
    AND NOT coalesce(a.seed_given, FALSE) AND coalesce(len(a.degraded), 0) = 0
    AND coalesce(len(a.rules), 0) = 0 AND NOT coalesce(a.filtered, FALSE) AND a."at" < $until
ORDER BY md5(a.recommendation_id) LIMIT $most
"""

# From users, and how many items are asked for, to each one's list, best first.
MakeLists = Callable[[Sequence[UserState], int], Sequence[Sequence[str]]]


class StatesThen(Protocol):
    """Who derives users as a request of then would have found them: `features.point_in_time.states`."""

    def __call__(self, user_ids: Sequence[str], before_us: Sequence[int]) -> list[UserState]:
        """What was known of each user, and of the items, just before each moment (microseconds since 1970)."""


@dataclass(frozen=True)
class AskedBundle:
    """A bundle that makes lists again.

    Attributes:
        states_then: Gives users by its features; called once there is somebody to ask about.
        lists: Makes lists.
    """

    states_then: Callable[[], StatesThen]
    lists: MakeLists


@dataclass(frozen=True)
class AskedLog:
    """Which lists count.

    Attributes:
        folder: Of the prediction log.
        events: Of the service.
        clicks: Kinds of event that count as a click, within `window_s` seconds.
        since: What was shown before was perhaps learned from.
        until: What is known of users ends there.
        model: The bundle in service, name:version: its lists count.
        is_forgotten: Whether nothing of a user may be read.
    """

    folder: Path
    events: EventLog
    clicks: Collection[str]
    window_s: float
    since: datetime
    until: datetime
    model: str
    is_forgotten: Callable[[str], bool] = lambda _: False


class Challenge(Frozen):
    """What a candidate's lists would have brought, beside those of the bundle in service: clicks per list.

    Attributes:
        state: few: too little to decide by; unsupported: the log could not show enough of the candidate's or of the
            other lists; else estimated.
        why: Of few and unsupported, a clause.
        since, until: When the lists that were asked about were shown, ISO 8601.
        found: Lists that explored, of which a sample is asked.
        is_cut_short: Whether the time was over before all of the sample was asked.
        same_first: Share of the lists that begin with the item that the bundle in service puts first again.
        candidate, in_service: The estimates of both; None of few where nothing was asked.
        snips, doubly_robust: Candidate less in service.
        as_judged: Whether the bundle that was judged in the place of the one in service is asked, as that one has
            learned of newer events than the candidate as it is judged.
        is_ahead: Whether it has, and could not be asked as it was judged.
    """

    state: Literal["few", "unsupported", "estimated"]
    places: int
    why: str = ""
    since: str = ""
    until: str = ""
    found: int = 0
    is_cut_short: bool = False
    same_first: float | None = None
    candidate: OffPolicyFigures | None = None
    in_service: OffPolicyFigures | None = None
    snips: Interval | None = None
    doubly_robust: Interval | None = None
    as_judged: bool = False
    is_ahead: bool = False

    def is_sure_loss(self, share: float) -> bool:
        """Whether both estimators say for sure that more than a share of the clicks in service would be lost."""
        ours = self.in_service
        if self.state != "estimated" or self.snips is None or self.doubly_robust is None or ours is None:
            return False
        pairs = ((self.snips, ours.snips), (self.doubly_robust, ours.doubly_robust))
        return all(was is not None and apart.high < -share * was.value for apart, was in pairs)

    def describe(self) -> str:
        """One clause with all the figures that decide."""
        ours, theirs = self.candidate, self.in_service
        if self.snips is None or self.doubly_robust is None or ours is None or theirs is None:
            return f"{self.why}{self._cut()}"
        assert ours.doubly_robust is not None
        assert theirs.doubly_robust is not None
        what = "the bundle that was judged in the place of the one in service" if self.as_judged else "those in service"
        first = "the first place" if self.places == 1 else f"the first {self.places} places"
        said = (
            f"by {ours.lists:,} lists of {ours.users:,} users that explored, {self.since[:16]} to {self.until[:16]}, "
            f"its lists would have brought {ours.doubly_robust.value:.4f} clicks each on {first}, {what} "
            f"{theirs.doubly_robust.value:.4f}: difference {_said(self.doubly_robust)} doubly robust, "
            f"{_said(self.snips)} SNIPS; effective sample size {ours.effective[-1]:,.0f}"
        )
        return f"{said}{self._cut()}{'; ' if self.why else ''}{self.why}"

    def _cut(self) -> str:
        """That the time was over, where it was and `why` does not say so."""
        if not self.is_cut_short or not self.since:
            return ""
        when = f", those asked are of {self.since[:16]} to {self.until[:16]}" if self.snips is None else ""
        return f"; the time was over before all of {self.found:,} were asked{when}"


def challenge(
    log: AskedLog,
    candidate: AskedBundle,
    in_service: AskedBundle,
    settings: OffPolicySettings,
    now: Callable[[], float] = time.monotonic,
) -> Challenge | None:
    """Estimate what the lists of both would have brought.

    Args:
        settings: How many lists, on how many places, in what time.
        now: A clock, seconds. The time counts from when users can be asked about.
    Returns:
        None where no list counts: there is no log, or nothing explored since both learned.
    Raises:
        PredictionLogError, EventLogError: a log cannot be read.
    """
    if not segments_of(log.folder) or not has_explored(log.folder, log.since, log.model):
        return None
    lists, found = _read(log, settings)
    if not lists:
        return None
    known: dict[str, Any] = {"places": settings.places, "found": found, **_times(lists)}
    drawn = Drawn.of([one.shown for one in lists], settings.places)
    if drawn.note:
        return Challenge(state="few", why=_clause(drawn.note), **known)
    states = candidate.states_then(), in_service.states_then()
    began = now()
    asked = list(_ask(lists, (candidate, in_service), states, lambda: now() - began < settings.time_s))
    known |= {"is_cut_short": len(asked) < len(lists), **_times([one for one, _, _ in asked])}
    if not asked:
        limit = f"recipe.gate.off_policy.time_s={settings.time_s:g}"
        why = f"the time was over before any of {found:,} lists that explored was asked about: {limit}"
        return Challenge(state="few", why=why, **known)
    return _compare(asked, settings, known)


class _Listed(NamedTuple):
    """A list that counts, when it was shown, and how many items were asked for."""

    shown: LoggedList
    at: datetime
    k: int


def _times(lists: Sequence[_Listed]) -> dict[str, str]:
    times = sorted(one.at for one in lists)
    return {"since": times[0].isoformat(), "until": times[-1].isoformat()} if times else {"since": "", "until": ""}


def _read(log: AskedLog, settings: OffPolicySettings) -> tuple[list[_Listed], int]:
    """A sample of the lists that count, the same each time; and how many there are."""
    closed = datetime.now(UTC) - timedelta(seconds=log.window_s)
    with open_shown(log.folder, log.events, log.clicks, log.window_s, since=log.since) as (tables, _):
        given = {"model": log.model, "until": min(log.until, closed)}
        rows = tables.execute(_LISTS, given | {"places": settings.places, "most": settings.lists}).fetchall()
    kept = [_Listed(LoggedList(*one), at, k) for *one, at, k, _ in rows if not log.is_forgotten(one[0])]
    return kept, rows[0][-1] if rows else 0


# A list as it was shown, with the first items of the candidate's and of the other one's.
_Asked = tuple[_Listed, Sequence[str], Sequence[str]]


def _ask(
    lists: Sequence[_Listed],
    bundles: tuple[AskedBundle, AskedBundle],
    states_of: tuple[StatesThen, StatesThen],
    has_time: Callable[[], bool],
) -> Iterator[_Asked]:
    """Ask both about lists while there is time; those of a day together, as they share what is known of the items."""
    days: dict[int, list[_Listed]] = {}
    for one in lists:
        days.setdefault(int(one.at.timestamp()) // _DAY_S, []).append(one)
    for day, of_day in days.items():
        began_us = [day * _DAY_S * 1_000_000]
        morning = {states: states([""], began_us)[0].items_then for states in states_of}
        left = iter(of_day)
        while batch := list(islice(left, _BATCH)):
            if not has_time():
                return
            who = [one.shown.who for one in batch]
            before = [round(one.at.timestamp() * 1e6) for one in batch]
            users = {
                states: [replace(user, items_then=items) for user in states(who, before)]
                for states, items in morning.items()
            }
            wanted = [one.k for one in batch]
            made = [_make(bundle, users[states], wanted) for bundle, states in zip(bundles, states_of, strict=True)]
            for one, mine, other in zip(batch, *made, strict=True):
                places = len(one.shown.items)
                yield one, mine[:places], other[:places]


def _make(bundle: AskedBundle, users: Sequence[UserState], wanted: Sequence[int]) -> list[Sequence[str]]:
    """A list for each user, each as long as it is wanted: re-ranking chooses the first items by all of them."""
    made: dict[int, Sequence[str]] = {}
    for k in dict.fromkeys(wanted):
        places = [place for place, one in enumerate(wanted) if one == k]
        made |= zip(places, bundle.lists([users[place] for place in places], k), strict=True)
    return [made[place] for place in range(len(users))]


def _compare(asked: Sequence[_Asked], settings: OffPolicySettings, known: Mapping[str, Any]) -> Challenge:
    rows = [one.shown for one, _, _ in asked]
    drawn = Drawn.of(rows, settings.places)
    if drawn.note:
        return Challenge(state="few", why=_clause(drawn.note), **known)
    mine = _target((one.shown, items) for one, items, _ in asked)
    other = _target((one.shown, items) for one, _, items in asked)
    ours, theirs = (estimate_lists(rows, target, settings.places) for target in (mine, other))
    told = {
        **known,
        "candidate": ours.model_copy(update={"variant": "candidate"}),
        "in_service": theirs.model_copy(update={"variant": "in service"}),
        "same_first": float(np.mean([one.shown.items[:1] == list(was[:1]) for one, _, was in asked])),
    }
    if ours.doubly_robust is None or theirs.doubly_robust is None:
        who = "its lists" if ours.doubly_robust is None else "the lists in service, as made again"
        return Challenge(state="few", why=f"none of {len(drawn.rows):,} lists that explored agrees with {who}", **told)
    wanted = drawn.wanted(mine), drawn.wanted(other)
    modelled = [model_clicks(drawn.rewards, drawn.shown, one, drawn.users) for one in wanted]
    pairs = [(drawn.weights(one), expected) for one, (_, expected) in zip(wanted, modelled, strict=True)]
    apart = estimate_difference(drawn.rewards, modelled[0][0], pairs[0], pairs[1], drawn.users, SEED)
    told |= {"snips": interval_of(apart.snips), "doubly_robust": interval_of(apart.doubly_robust)}
    least = min(ours.effective[-1], theirs.effective[-1])
    if least < settings.min_effective:
        said = f"too few to decide by: recipe.gate.off_policy.min_effective={settings.min_effective}"
        return Challenge(state="few", why=f"{said}, of either bundle, and {least:,.0f} there are", **told)
    for one, who in ((ours, "the candidate's lists"), (theirs, "the lists in service, as made again")):
        if is_apart(one.lists, one.effective[-1], one.support[-1]):
            said = f"the log could not show enough of {who}: their mean weight is {one.support[-1]:.2f}, expected 1"
            return Challenge(state="unsupported", why=said, **told)
    return Challenge(state="estimated", **told)


def _target(made: Iterable[tuple[LoggedList, Sequence[str]]]) -> Target:
    """What was made in the place of each list."""
    found = {id(one): items for one, items in made}
    return lambda one: found[id(one)]


def _said(one: Interval) -> str:
    return f"{one.value:+.4f} [{one.low:+.4f}, {one.high:+.4f}]"


def _clause(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:].rstrip(".")
