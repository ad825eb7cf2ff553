"""The bundle in service, as the gate asks: is it this very one, was this one withdrawn, how do the two compare?"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.experiments import read_experiments
from core.promotions import Standing, known_versions
from core.settings.evaluation import BASELINE_KINDS, GateSettings
from flows.promotion.gate import NO_CHAMPION, AgainstChampion
from flows.promotion.guardrails import check_guardrails
from flows.promotion.model_store import find_fault
from flows.promotion.off_policy import ShopLog, ask_log
from recommender.bundle.manifest import Manifest, read_manifest
from recommender.errors import BundleError
from recommender.fitting.component import loading

if TYPE_CHECKING:
    from monitoring.online.challenger import Challenge
    from recommender.bundle.loading import Bundle
    from recommender.evaluation.differences import Judgement
    from recommender.evaluation.latency import Latency

WAS_WITHDRAWN = "was taken out of service by a rollback, or withdrawn as a canary"


@dataclass(frozen=True)
class UnseenEvents:
    """Where the events lie that two bundles are compared on.

    Attributes:
        training: The candidate's training set, whose test window both are asked about where neither learned of it.
        queries_since: Gives the folder of the queries of a window of its own, from a moment on; it may have none.
        find_judged: Gives the folder of a bundle as it was judged, by its digest; None where it is gone.
        device: Where the bundles' models compute.
        users: The clean users table, for segments by what users are; None for none.
        writer: The evaluation of the writer of the bundle that is judged; None where it has none.
        log: What the service showed, for clicks on lists that explored; None for none.
    """

    training: Path
    queries_since: Callable[[datetime], Path]
    find_judged: Callable[[str], Path | None] = lambda _: None
    device: str = "cpu"
    users: Path | None = None
    writer: Mapping[str, Any] | None = None
    log: ShopLog | None = None


@dataclass(frozen=True)
class Found:
    """A bundle beside the one in service.

    Attributes:
        judgement: On events that neither learned from; None where there is no such event, or no bundle to compare.
        latency: Of both.
        tag: Of the bundle in service; None where none is, or it is to be replaced whatever the figures say.
        no_champion: Why there is no tag.
        writer: The evaluation of the champion's writer; None where it has none.
        is_baseline: Whether what is in service is a baseline, and the bundle beside it is none.
        off_policy: Clicks on lists that explored; None where none did since both learned.
    """

    judgement: Judgement | None = None
    latency: Latency | None = None
    tag: str | None = None
    no_champion: str = NO_CHAMPION
    writer: Mapping[str, Any] | None = None
    is_baseline: bool = False
    off_policy: Challenge | None = None


def hold_against_champion(
    folder: Path, events: UnseenEvents, k: int, gate: GateSettings, standing: Standing, to_go: Collection[str] = ()
) -> AgainstChampion:
    """A bundle against the one in service, overall, by segment, and by every guardrail.

    Args:
        folder: The bundle.
        events: Which those are that may be asked about.
        k: Length of the lists.
        gate: The metric, the segments, the guardrails, and how many users make an interval.
        standing: Says what is in service.
        to_go: Versions that learned from people who are forgotten.
    """
    found = compare_with_champion(folder, events, k, gate, standing, to_go)
    if found.tag is None:
        return AgainstChampion(no_champion=found.no_champion)
    judged = found.judgement
    writers = (events.writer, found.writer)
    guardrails = check_guardrails(
        gate.guardrails, judged, found.latency, writers, found.off_policy, is_baseline=found.is_baseline
    )
    against = AgainstChampion(tag=found.tag, guardrails=guardrails, off_policy=found.off_policy)
    return against if judged is None else replace(against, comparison=judged.comparison, segments=judged.segments)


def tag_in_service(judged: Manifest, standing: Standing) -> str | None:
    """The tag of the bundle in service where it is this very one, or was fitted again from it on the same data.

    None where it is damaged in the store.
    """
    champion = standing.in_service
    if champion is None or find_fault(champion):
        return None
    served = read_manifest(champion.folder)
    is_refit = (served.judged, served.data.fingerprint) == (judged.digest, judged.data.fingerprint)
    return champion.tag if champion.digest == judged.digest or is_refit else None


def is_withdrawn(digest: str, standing: Standing) -> bool:
    """Whether a rollback took the bundle of this digest out of service, or what was fitted again from it; or the loop
    withdrew it as a canary.
    """
    if digest in read_experiments(standing.folder.name).withdrawn:
        return True
    withdrawn = standing.withdrawn
    versions = known_versions(standing.folder.name) if withdrawn else []
    return digest in withdrawn | {version.judged for version in versions if version.digest in withdrawn}


def compare_with_champion(
    folder: Path, events: UnseenEvents, k: int, gate: GateSettings, standing: Standing, to_go: Collection[str] = ()
) -> Found:
    """Evaluate a bundle and the one in service on test events that neither learned from.

    A champion that was fitted again on everything leaves few such events, and knows newer ones than the candidate does
    as it is judged. So where it does not lose on them for sure, the bundle that was judged in its place is asked
    instead, if it is still there: on the whole test window, of which neither knows anything.

    Of each bundle only what ranks is loaded.

    Args:
        folder: The bundle.
        events: Which those are.
        k: Length of the lists.
        gate: The metric, and how many users make an interval.
        standing: Says what is in service.
        to_go: Versions that learned from people who are forgotten.
    """
    from recommender.bundle.loading import load_bundle

    champion = standing.in_service
    if champion is None:
        return Found()
    if champion.version in to_go:
        gone = f"the bundle in service, {champion.tag}, learned from a person who was forgotten, and has to go"
        return Found(no_champion=gone)
    candidate = load_bundle(folder, events.device, parts=())
    try:
        with loading("bundle", got=f"bundle={champion.tag}", expected="a bundle that can be loaded"):
            in_service = load_bundle(champion.folder, events.device, parts=())
        found = _compare(candidate, in_service, events, k, gate)
        if found is None or found.comparison.n_queries < gate.min_queries or found.comparison.low <= 0:
            found = _compare_as_judged(candidate, in_service, events, k, gate) or found
        latency = _measure_latency(candidate, in_service, events.training, k)
    except BundleError as error:
        raise_if_out_of_memory(error)
        fault = f"{error.got}, expected {error.expected}"
        lost = f"the bundle in service, {champion.tag}, is not comparable, as it cannot be loaded ({fault})"
        return Found(no_champion=lost)
    asked = ask_log(events.log, candidate, in_service, champion.tag, gate, events.find_judged)
    writer, kinds = in_service.manifest.metrics.get("writer"), (candidate.manifest.kind, in_service.manifest.kind)
    is_baseline = kinds[0] not in BASELINE_KINDS and kinds[1] in BASELINE_KINDS
    return Found(found, latency, champion.tag, writer=writer, is_baseline=is_baseline, off_policy=asked)


def _compare(
    candidate: Bundle, champion: Bundle, events: UnseenEvents, k: int, gate: GateSettings, *, as_judged: bool = False
) -> Judgement | None:
    """On the candidate's test window, or on the part of it that came after all that either learned or chose by; None
    where nobody chose anything then.
    """
    from recommender.evaluation.groups import read_attributes
    from recommender.evaluation.judgement import judge_bundles
    from recommender.inputs.queries import read_queries

    ours, theirs = candidate.manifest.data, champion.manifest.data
    opens = max(ours.unknown_from, theirs.unknown_from)
    where = events.training if opens == datetime.fromisoformat(ours.test_at) else events.queries_since(opens)
    queries = read_queries(where, "test")
    if not len(queries):
        return None
    attributes = None if events.users is None else read_attributes(events.users, queries)
    found = judge_bundles(candidate, champion, queries, k, gate.metric, settings=gate.segments, attributes=attributes)
    is_ahead = theirs.learned_until_at > ours.learned_until_at
    since, until = opens.isoformat(), ours.last_event_at
    comparison = replace(found.comparison, since=since, until=until, as_judged=as_judged, champion_is_ahead=is_ahead)
    return replace(found, comparison=comparison)


def _compare_as_judged(
    candidate: Bundle, champion: Bundle, events: UnseenEvents, k: int, gate: GateSettings
) -> Judgement | None:
    """With the bundle that was judged in the champion's place; None where there is none, or too few events for it."""
    from recommender.bundle.loading import load_bundle

    digest = champion.manifest.judged
    folder = None if digest is None else events.find_judged(digest)
    if folder is None:
        return None
    try:
        judged = load_bundle(folder, events.device, parts=())
        found = _compare(candidate, judged, events, k, gate, as_judged=True)
    except BundleError as error:
        raise_if_out_of_memory(error)
        return None  # it is no more than further evidence
    return found if found is not None and found.comparison.n_queries >= gate.min_queries else None


def _measure_latency(candidate: Bundle, champion: Bundle, training: Path, k: int) -> Latency | None:
    """Asked about users of the candidate's test window; None where it has none."""
    from recommender.evaluation.latency import measure_latency
    from recommender.inputs.queries import read_queries

    users = read_queries(training, "test").users
    return measure_latency(candidate, champion, users, k) if users else None


def read_served_manifest(standing: Standing) -> Manifest | None:
    """The manifest of the bundle in service; of the one that the service falls back to where that cannot be read.

    Returns:
        None before the first promotion.
    Raises:
        BundleError: none of them can be read.
    """
    fault = None
    for version in standing.good.values():
        try:
            return read_manifest(standing.folder / version)
        except BundleError as error:
            fault = fault or error
    if fault:
        raise fault
    return None


def raise_if_out_of_memory(error: BundleError) -> None:
    """Too little memory says nothing about a bundle."""
    from torch import OutOfMemoryError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OutOfMemoryError | MemoryError):
            raise error
        cause = cause.__cause__
