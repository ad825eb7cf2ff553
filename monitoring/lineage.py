"""Where an answer came from: the record of the prediction log, the bundle that it names, and how that got into service.

What is not known any more is said, and never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from core.errors import SommelierError
from core.experiments import ExperimentError, read_experiments
from core.ids import moment_of_id
from core.layout import Layout
from core.logs.pruning import read_lost
from core.logs.search import Search, find_records
from core.logs.timeline import Entry, Timeline
from core.promotions import Standing, model_folder, read_standing
from core.storage import digest_of
from core.tombstones import read_tombstones
from monitoring.origin import Lineage, Origin, Served
from recommender.bundle.manifest import MANIFEST, Manifest, read_manifest
from recommender.errors import BundleError, OtherSchemaVersion

# After a change of what answers, until all workers have loaded it.
_TAKEN_UP = timedelta(minutes=10)
_CANDIDATE = "candidate-"  # before the beginning of the digest, in the name of one that was never promoted


class UnknownRecommendation(SommelierError):
    """The prediction log has no answer of this id."""


class TraceTooLong(SommelierError):
    """The answer was not found in time, and not all of the prediction log was read."""


def trace(layout: Layout, recommendation_id: str, days: float, within_s: float | None = None) -> Lineage:
    """Find out where an answer came from. Of one whose record is gone with its segment, what its id says: when it was
    given, and what answered then.

    Args:
        layout: Of the shop.
        recommendation_id: Of the answer.
        days: For how long the log keeps records.
        within_s: The log is searched for so many seconds at most; None for no limit.
    Raises:
        UnknownRecommendation: the log has no such answer, or it is of somebody who is forgotten.
        TraceTooLong: it was not found in time.
    """
    found = find_records(layout.predictions, recommendation_id, within_s)
    records = _without_forgotten(layout, found)
    shown = next((one for one in records if one.get("role") in ("shown", "preview")), None)
    is_withheld = len(records) < len(found.records)
    if shown is None and found.unread and not is_withheld:
        raise TraceTooLong(
            "Cannot trace the recommendation in time",
            got=f"recommendation_id={recommendation_id[:80]}, which is not in {_what_was_read(found)}",
            expected=f"one that is found within {within_s or 0:g} s, but {found.unread} more segments were not read",
            where=str(layout.predictions),
            do=f"Search without a limit: sommelier lineage {recommendation_id[:80]}",
        )
    if shown is None and not found.records and (gone := _lineage_of_gone(layout, recommendation_id)) is not None:
        return gone
    if shown is None:
        raise UnknownRecommendation(
            "Cannot trace the recommendation",
            got=f"recommendation_id={recommendation_id[:80]}",
            expected=f"an answer in {_what_was_read(found)}, which keeps {days:g} days and nobody who is forgotten",
            where=str(layout.predictions),
            do="Take the id from an answer's recommendation_id",
        )
    tag = str(shown["model"])
    standing = read_standing(layout.model_name)
    bundle, missing = _read_bundle(layout, standing, tag)
    promotions, run = _promotions(layout, standing, tag), _find_run(layout, tag)
    unknown = [missing] if missing else []
    if found.unread:
        unknown.append(f"Shadows beside it may be in {found.unread} segments of the log that were not read in time.")
    if not promotions:
        unknown.append(f"No promotion of {tag} is recorded, so there is no decision of the gate to show.")
    if run is None:
        unknown.append("The time line does not say which run led to the bundle.")
    if shown.get("degraded"):
        unknown.append(
            f"It was made without {', '.join(shown['degraded'])}: by what the worker had read of the user before, or "
            "as a cold start."
        )
    unknown.append(_what_features_lack(shown))
    return Lineage(
        recommendation_id=recommendation_id,
        shown=shown,
        shadows=[one for one in records if one.get("role") == "shadow"],
        bundle=bundle,
        promotions=promotions,
        run=run,
        unknown=unknown,
    )


def _lineage_of_gone(layout: Layout, recommendation_id: str) -> Lineage | None:
    """What answered when the id was given; None where the log still has that time, or nothing was in service then."""
    moment = moment_of_id(recommendation_id)
    try:
        lost = read_lost(layout.predictions).until
    except (OSError, ValueError):
        return None
    if moment is None or lost is None or moment > lost:
        return None
    standing = read_standing(layout.model_name)
    served, unknown = [], []
    for tag, says in _answered_then(layout, standing, moment):
        bundle, missing = _read_bundle(layout, standing, tag)
        unknown += [missing] if missing else []
        promotions = _promotions(layout, standing, tag)
        served.append(Served(model=tag, says=says, bundle=bundle, promotions=promotions, run=_find_run(layout, tag)))
    if not served:
        return None
    at = moment.isoformat(timespec="seconds")
    unknown = [
        f"The list itself is no longer kept, nor whether there was one: the log may have lost answers up to "
        f"{lost.isoformat(timespec='seconds')}. Its id says that it was given at {at}.",
        *([] if len(served) == 1 else ["Which of the bundles that answered then made it."]),
        *dict.fromkeys(unknown),
    ]
    only = served[0] if len(served) == 1 else None
    return Lineage(
        recommendation_id=recommendation_id,
        shown={},
        shadows=[],
        bundle=only and only.bundle,
        promotions=only.promotions if only else [],
        run=only and only.run,
        unknown=unknown,
        given_at=at,
        served=served,
    )


def _answered_then(layout: Layout, standing: Standing, moment: datetime) -> Iterator[tuple[str, str]]:
    """Bundles that answered at a moment, by their tags, each with a clause: those in service, then those tried."""
    ends = [*(one.at for one in standing.changes[1:]), None]
    for change, end in zip(standing.changes, ends, strict=False):
        # A worker answers by the one before until the next one is loaded.
        if _is_within(moment, change.at, end):
            yield f"{layout.model_name}:{change.version}", f"in service {_span(change.at, end)}"
    try:
        experiments = read_experiments(layout.model_name).experiments
    except ExperimentError:
        return
    for tried in experiments:
        if tried.kind != "shadow" and _is_within(moment, tried.started_at, tried.stopped_at):
            for one in tried.variants:
                version = one.bundle.version or f"{_CANDIDATE}{one.bundle.digest[:12]}"
                said = f"variant {one.name} of experiment {tried.name}, {_span(tried.started_at, tried.stopped_at)}"
                yield f"{layout.model_name}:{version}", said


def _is_within(moment: datetime, begin: str, end: str | None) -> bool:
    return datetime.fromisoformat(begin) <= moment and (end is None or moment < datetime.fromisoformat(end) + _TAKEN_UP)


def _span(begin: str, end: str | None) -> str:
    return f"from {begin[:19]}" + (f" to {end[:19]}" if end else "")


def _promotions(layout: Layout, standing: Standing, tag: str) -> list[dict[str, Any]]:
    return [one.model_dump(mode="json") for one in standing.changes if f"{layout.model_name}:{one.version}" == tag]


def _what_features_lack(shown: Mapping[str, Any]) -> str:
    """What the record does not say of the features as they were read."""
    at = shown["at"]
    if shown.get("features") is None:
        said = "The record does not hold the features as they were read: "
        if shown.get("user_id") is None or shown.get("role") != "shown":
            return f"{said}it is not of a list that a known user was shown."
        return f"{said}the shop's events before {at} are what they were made of."
    kept, n_history = len(shown["features"].get("history", ())), shown["features"].get("n_history", 0)
    more = f" and {n_history - kept} older items of the history" if n_history > kept else ""
    return (
        f"Of the features as they were read the record holds the user's; the items'{more} follow from the shop's "
        f"events before {at}."
    )


def _without_forgotten(layout: Layout, found: Search) -> list[dict[str, Any]]:
    """The answer's records, but those of people who are forgotten."""
    stones = read_tombstones(layout.forgotten)
    people = ("user_id", "visitor_id")
    return [one for one in found.records if not any(one.get(who) and stones.holds(str(one[who])) for who in people)]


def _what_was_read(found: Search) -> str:
    if found.since is None or found.until is None:
        return "the prediction log"
    since, until = (moment.isoformat(timespec="seconds") for moment in (found.since, found.until))
    return f"the prediction log from {since} to {until}"


def _read_bundle(layout: Layout, standing: Standing, tag: str) -> tuple[Origin | None, str]:
    """The bundle, or a sentence that says why it cannot be shown."""
    version = tag.rpartition(":")[2]
    erased = next((one for one in standing.erased if one.version == version), None)
    if erased is not None:
        return None, f"The bundle {tag} was removed: it had learned from a person who was forgotten at {erased.at}."
    folder = model_folder(layout.model_name) / version
    if not (folder / MANIFEST).is_file():
        candidate = _find_candidate(layout, version)
        if candidate is None:
            return None, f"The bundle {tag} is not in the store any more: nothing is known of its data and settings."
        folder = candidate
    try:
        return _origin(read_manifest(folder)), ""
    except (BundleError, OtherSchemaVersion) as error:
        return None, f"The bundle {tag} cannot be read: {error}"


def _find_candidate(layout: Layout, version: str) -> Path | None:
    """A bundle that was tried without being promoted."""
    digest = version.removeprefix(_CANDIDATE)
    if digest == version:
        return None
    places = (layout.bundle(""), layout.baseline_bundle(""), layout.refit_bundle(""))
    for file in (file for place in places for file in sorted(place.glob(f"*/{MANIFEST}"))):
        try:
            if str(json.loads(file.read_text(encoding="utf-8"))["digest"]).startswith(digest):
                return file.parent
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: it answered nobody
    return None


def _origin(manifest: Manifest) -> Origin:
    recipe = manifest.recipe.model_dump(mode="json")
    return Origin(
        digest=manifest.digest,
        kind=manifest.kind,
        created_at=manifest.created_at,
        code_version=manifest.code_version,
        data=manifest.data,
        judged=manifest.judged,
        recipe_digest=digest_of(recipe),
        recipe=recipe,
        metrics=manifest.metrics,
    )


def _find_run(layout: Layout, tag: str) -> Entry | None:
    timeline = Timeline(layout.timeline)
    entry = timeline.newest("promotion", tag)
    return None if entry is None or entry.cause is None else timeline.find(entry.cause)
