"""What becomes of a candidate: the gate's rules on its evaluation, and on the comparison with the bundle in service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.promotions import Standing, Version, read_standing
from core.settings.evaluation import GateSettings
from flows.promotion.champion import WAS_WITHDRAWN, UnseenEvents, hold_against_champion, is_withdrawn, tag_in_service
from flows.promotion.gate import AgainstChampion, Approval, Decision, decide, decide_baseline, find_best_baseline
from flows.promotion.model_store import promote
from flows.promotion.refits import describe_refit, labels_of
from flows.promotion.writers import with_own_writer
from recommender.bundle.assembly import record_evaluation
from recommender.bundle.manifest import Manifest, read_manifest
from recommender.errors import BundleError
from recommender.evaluation.feedback.names import without_samples
from recommender.evaluation.names import SERVED

_REFUSED: Mapping[str, Any] = {"promote": False, "promote_baseline": False, "canary": False, "needs_approval": False}


def decide_candidate(
    candidate: Path,
    events: UnseenEvents,
    metrics: dict[str, Any],
    gate: GateSettings,
    k: int,
    model: str,
    to_go: Collection[str] = (),
) -> Decision:
    """Compare a candidate with the best baseline, and with the bundle in service on the same test events.

    Args:
        candidate: The bundle.
        events: Those that may be asked about.
        metrics: The candidate's evaluation.
        k: Length of the lists.
        model: The model's name in the store.
        to_go: Versions that learned from people who are forgotten: one of them in service keeps nothing out.
    """
    standing = read_standing(model)
    decision = _decide(candidate, events, metrics, gate, k, standing, to_go)
    return decision.model_copy(update={"generation": standing.generation})


def _decide(
    candidate: Path,
    events: UnseenEvents,
    metrics: dict[str, Any],
    gate: GateSettings,
    k: int,
    standing: Standing,
    to_go: Collection[str],
) -> Decision:
    key = f"{gate.metric}_at_{k}"
    manifest = read_manifest(candidate)
    baseline = find_best_baseline(metrics, key)
    figures: dict[str, Any] = {"metric": key, "candidate": metrics["ranking"][SERVED][key], "baseline": baseline}
    if tag := tag_in_service(manifest, standing):
        return Decision(promote=False, reason=f"the same bundle is in service already: {tag}", served=SERVED, **figures)
    if is_withdrawn(manifest.digest, standing):
        return Decision(promote=False, reason=f"this bundle {WAS_WITHDRAWN}", **figures)
    if (lost := decide(gate, champion=AgainstChampion(), **figures)).lost_to_baseline:
        return lost
    events = replace(events, writer=metrics.get("writer"))
    return decide(gate, champion=hold_against_champion(candidate, events, k, gate, standing, to_go), **figures)


def decide_served_baseline(
    bundle: Path,
    events: UnseenEvents,
    refused: Decision,
    gate: GateSettings,
    k: int,
    model: str,
    to_go: Collection[str] = (),
) -> Decision:
    """Compare the baseline that a candidate lost to with the bundle in service on the same test events.

    Args:
        bundle: That in which the baseline serves.
        refused: What was decided of the candidate.
        to_go: As for `decide_candidate`.
    """
    standing, manifest = read_standing(model), read_manifest(bundle)
    refused = refused.model_copy(update={"generation": standing.generation})
    if tag := tag_in_service(manifest, standing):
        reason = f"{refused.reason}; that baseline is in service already: {tag}"
        return refused.model_copy(update={"reason": reason, "served": manifest.kind})
    if is_withdrawn(manifest.digest, standing):
        return refused.model_copy(update={"reason": f"{refused.reason}; that baseline {WAS_WITHDRAWN}"})
    champion = hold_against_champion(bundle, events, k, gate, standing, to_go)
    return decide_baseline(gate, refused, champion, is_renewal=_kind_in_service(standing) == manifest.kind)


def _kind_in_service(standing: Standing) -> str | None:
    """What kind of bundle is in service; None where none is, or it does not say."""
    try:
        return None if standing.in_service is None else read_manifest(standing.in_service.folder).kind
    except BundleError:
        return None


def decide_refit(bundle: Path, decision: Decision, model: str) -> Decision:
    """The decision, with what was fitted again on everything in the place of what was judged.

    Where that is the bundle in service already, or one that a rollback withdrew, nothing goes into service.

    Args:
        bundle: What was fitted again.
        decision: Of the bundle that was judged.
        model: The model's name in the store.
    """
    manifest, standing = read_manifest(bundle), read_standing(model)
    decision = decision.model_copy(update={"refit": describe_refit(manifest)})
    refused: dict[str, Any] = {**_REFUSED}
    if tag := tag_in_service(manifest, standing):
        reason = f"{decision.reason}; fitted again on everything, it is the bundle in service already: {tag}"
        return decision.model_copy(update={**refused, "reason": reason})
    if is_withdrawn(manifest.digest, standing):
        reason = f"{decision.reason}; fitted again on everything, this bundle {WAS_WITHDRAWN}"
        return decision.model_copy(update={**refused, "reason": reason, "served": None})
    return decision


def follow_approval(decision: Decision, approval: Approval, standing: Standing) -> Decision:
    """The decision as somebody's word leaves it: only what they approved in time goes on, and only against what it was
    compared with.

    Args:
        decision: That waited.
        approval: What they said.
        standing: Says what is in service now.
    """
    if approval.state == "approved" and standing.generation != decision.generation:
        approval = approval.model_copy(update={"state": "overtaken"})
    update: dict[str, Any] = {"approval": approval, "reason": f"{decision.reason}; {approval.describe()}"}
    if approval.state != "approved":
        update |= {**_REFUSED, "needs_approval": True, "served": None}
    return decision.model_copy(update=update)


def keep_evaluation(bundle: Path, model: str, metrics: dict[str, Any]) -> Manifest:
    """Write a bundle's evaluation into its manifest, without anybody's texts, and the digest of what is in service."""
    champion = read_standing(model).in_service
    kept = with_own_writer(read_manifest(bundle), metrics)
    return record_evaluation(bundle, without_samples(kept), champion.digest if champion else None)


def promote_decided(bundle: Path, model: str, metrics: dict[str, Any], decision: Decision) -> Version:
    """Put a bundle into service with what decided it, unless something else went into service since.

    Raises:
        ChampionChanged: something was promoted or rolled back since the decision.
    """
    champion = read_standing(model).in_service
    manifest = keep_evaluation(bundle, model, metrics)
    value = decision.baseline.value if decision.promote_baseline and decision.baseline else decision.candidate
    labels = {
        **labels_of(manifest),
        "parent": champion.version if champion else "",
        "metric": decision.metric,
        "value": f"{value:.4f}",
        **_approved(decision),
    }
    return promote(bundle, model, labels, reason=decision.reason, generation=decision.generation)


def _approved(decision: Decision) -> dict[str, str]:
    """Who approved it, for the version's labels."""
    approval = decision.approval
    if approval is None:
        return {}
    return {"approved_by": approval.by, "approved_at": approval.at, "approval_comment": approval.comment}
