"""Clicks on lists that explored, as the gate asks: a candidate and the bundle in service make those lists again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import SommelierError
from core.layout import Layout
from core.logs.events import EventLog
from core.logs.pruning import segments_of
from core.settings.evaluation import GateSettings, OffPolicySettings
from core.tombstones import read_tombstones
from flows.environment import current_settings
from recommender.errors import BundleError

if TYPE_CHECKING:
    from monitoring.online.challenger import Challenge, StatesThen
    from recommender.bundle.loading import Bundle
    from recommender.inputs.user import UserState

logger = logging.getLogger(__name__)

# Scores of all users of a pass.
_NUMBERS_PER_PASS = 1 << 22


@dataclass(frozen=True)
class ShopLog:
    """What a shop's service showed, and what is known of its users.

    Attributes:
        layout: Of the shop.
        clean: The folder of the clean tables.
        made: Users as of moments, by the features that they are derived with; reading the events takes half a gigabyte
            of memory for a million of them. None but those of the two bundles that were asked last.
    """

    layout: Layout
    clean: Path
    made: dict[str, StatesThen] = field(default_factory=dict)

    def states(self, bundle: Bundle) -> StatesThen:
        """Users as of moments, by the features of a bundle."""
        from features.point_in_time.states import StatesThen

        key = _features_of(bundle)
        if key not in self.made:
            self.made[key] = StatesThen(self.clean, bundle.manifest.recipe.features)
        return self.made[key]

    def find_too_many(self, bundles: Sequence[Bundle], most: int) -> str:
        """Why users of so many events are not read for bundles, a clause; empty where they may be."""
        import pyarrow.parquet as pq

        from features.clean_tables import table_path

        keys = {_features_of(bundle) for bundle in bundles}
        n_events = int(pq.read_metadata(table_path(self.clean, "interactions")).num_rows)
        if n_events * len(keys) > most:
            times = "" if len(keys) == 1 else ", read twice as the two bundles differ in their features"
            limit = f"recipe.gate.off_policy.events={most} are read at most"
            return f"the clean tables have {n_events:,} events{times}, and {limit}"
        for key in self.made.keys() - keys:
            del self.made[key]  # what no bundle asks about is given back before more is read
        return ""


def _features_of(bundle: Bundle) -> str:
    return bundle.manifest.recipe.features.model_dump_json()


def ask_log(
    log: ShopLog | None,
    candidate: Bundle,
    champion: Bundle,
    tag: str,
    gate: GateSettings,
    find_judged: Callable[[str], Path | None],
) -> Challenge | None:
    """Estimate what the lists of a candidate and of the bundle in service would have brought.

    A champion that learned of newer events than the candidate as it is judged is asked as it was judged itself, where
    that bundle is still there.

    Args:
        log: None for none.
        tag: Of the bundle in service: what it showed counts.
        gate: Says whether, and of how many lists.
        find_judged: Gives the folder of a bundle as it was judged, by its digest.
    Returns:
        None where there is none, it is switched off, or no list explored since both learned. Of whatever fails it says
        so, and decides nothing.
    """
    if log is None or not gate.off_policy.enabled:
        return None
    try:
        return _ask(log, candidate, champion, tag, gate.off_policy, find_judged)
    except Exception as error:  # it is no more than further evidence
        logger.warning("Nobody is asked about lists that explored", exc_info=True)
        said = str(error) if isinstance(error, SommelierError) else f"{type(error).__name__}: {error}"
        return _nobody(gate.off_policy, said.partition("\n")[0].removesuffix("."))


def _ask(
    log: ShopLog,
    candidate: Bundle,
    champion: Bundle,
    tag: str,
    settings: OffPolicySettings,
    find_judged: Callable[[str], Path | None],
) -> Challenge | None:
    from monitoring.online.challenger import AskedBundle, AskedLog, challenge
    from monitoring.online.shown import has_explored

    if not segments_of(log.layout.predictions):
        return None
    champion, as_judged = _as_judged(candidate, champion, find_judged)
    ours, theirs = candidate.manifest.data, champion.manifest.data
    since = max(ours.unknown_from, theirs.unknown_from)
    if not has_explored(log.layout.predictions, since, tag):
        return None
    if why := log.find_too_many((candidate, champion), settings.events):
        return _nobody(settings, why)
    counted = current_settings().serving.experiments
    asked = AskedLog(
        folder=log.layout.predictions,
        events=EventLog(log.layout.events),
        clicks=counted.clicks,
        window_s=counted.click_window_s,
        since=since,
        until=datetime.fromisoformat(ours.last_event_at),
        model=tag,
        is_forgotten=read_tombstones(log.layout.forgotten).holds,
    )
    bundles = [AskedBundle(partial(log.states, one), _lists_of(one)) for one in (candidate, champion)]
    found = challenge(asked, bundles[0], bundles[1], settings)
    is_ahead = theirs.learned_until_at > ours.learned_until_at
    return found and found.model_copy(update={"as_judged": as_judged, "is_ahead": is_ahead})


def _nobody(settings: OffPolicySettings, why: str) -> Challenge:
    from monitoring.online.challenger import Challenge

    why = f"nobody can be asked about lists that explored: {why}"
    return Challenge(state="few", places=settings.places, why=why)


def _as_judged(candidate: Bundle, champion: Bundle, find_judged: Callable[[str], Path | None]) -> tuple[Bundle, bool]:
    from recommender.bundle.loading import load_bundle

    ours, theirs = candidate.manifest.data, champion.manifest
    folder = None if theirs.judged is None else find_judged(theirs.judged)
    if folder is None or theirs.data.learned_until_at <= ours.learned_until_at:
        return champion, False
    try:
        return load_bundle(folder, candidate.device, parts=()), True
    except BundleError:
        return champion, False  # it is no more than further evidence


def _lists_of(bundle: Bundle) -> Callable[[Sequence[UserState], int], Sequence[Sequence[str]]]:
    """Makes lists of a length as the service does where a request says no more than that."""
    from recommender.reranking.reranker import Reranker

    ranker, settings = bundle.ranker, bundle.manifest.recipe.rerank
    reranker = None if settings.changes_nothing else Reranker(ranker.vectors, settings)
    size = max(1, _NUMBERS_PER_PASS // len(ranker.ids))

    def lists(users: Sequence[UserState], k: int) -> list[list[str]]:
        found: list[list[str]] = []
        for start in range(0, len(users), size):
            page = users[start : start + size]
            if reranker is None:
                found += [[item_id for item_id, _ in one] for one in ranker.top_k(page, k)]
            else:
                found += [[item_id for item_id, _ in reranker.top_k(ranker, user, k).items] for user in page]
        return found

    return lists
