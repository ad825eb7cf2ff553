"""What becomes of a candidate: the gate's rules on its evaluation, and on the comparison with the bundle in service."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from core.promotions import Standing, Version, read_standing
from core.settings.evaluation import GateSettings
from flows.promotion.champion import WAS_WITHDRAWN, compare_with_champion, is_withdrawn, tag_in_service
from flows.promotion.gate import Decision, decide, decide_baseline, find_best_baseline
from flows.promotion.model_store import promote
from recommender.bundle.assembly import record_evaluation
from recommender.bundle.manifest import read_manifest
from recommender.evaluation.names import SERVED


def decide_candidate(
    candidate: Path,
    training: Path,
    metrics: dict[str, Any],
    gate: GateSettings,
    k: int,
    model: str,
    to_go: Collection[str] = (),
    *,
    device: str = "cpu",
) -> Decision:
    """Compare a candidate with the best baseline, and with the bundle in service on the same test events.

    Args:
        candidate: The bundle.
        training: The training set whose test events are asked.
        metrics: The candidate's evaluation.
        k: Length of the lists.
        model: The model's name in the store.
        to_go: Versions that learned from people who are forgotten: one of them in service keeps nothing out.
        device: Where the bundles' models compute.
    """
    standing = read_standing(model)
    decision = _decide(candidate, training, metrics, gate, k, standing, to_go, device)
    return decision.model_copy(update={"generation": standing.generation})


def _decide(
    candidate: Path,
    training: Path,
    metrics: dict[str, Any],
    gate: GateSettings,
    k: int,
    standing: Standing,
    to_go: Collection[str],
    device: str,
) -> Decision:
    key = f"{gate.metric}_at_{k}"
    digest = read_manifest(candidate).digest
    baseline = find_best_baseline(metrics, key)
    figures: dict[str, Any] = {"metric": key, "candidate": metrics["ranking"][SERVED][key], "baseline": baseline}
    if tag := tag_in_service(digest, standing):
        return Decision(promote=False, reason=f"the same bundle is in service already: {tag}", served=SERVED, **figures)
    if is_withdrawn(digest, standing):
        return Decision(promote=False, reason=f"this bundle {WAS_WITHDRAWN}", **figures)
    if (lost := decide(gate, champion=None, **figures)).lost_to_baseline:
        return lost
    compared, no_champion = compare_with_champion(candidate, training, k, gate.metric, standing, to_go, device)
    return decide(gate, champion=compared, no_champion=no_champion, **figures)


def decide_served_baseline(
    bundle: Path,
    training: Path,
    refused: Decision,
    gate: GateSettings,
    k: int,
    model: str,
    to_go: Collection[str] = (),
    *,
    device: str = "cpu",
) -> Decision:
    """Compare the baseline that a candidate lost to with the bundle in service on the same test events.

    Args:
        bundle: That in which the baseline serves.
        refused: What was decided of the candidate.
        to_go, device: As for `decide_candidate`.
    """
    standing, manifest = read_standing(model), read_manifest(bundle)
    refused = refused.model_copy(update={"generation": standing.generation})
    if tag := tag_in_service(manifest.digest, standing):
        reason = f"{refused.reason}; that baseline is in service already: {tag}"
        return refused.model_copy(update={"reason": reason, "served": manifest.kind})
    if is_withdrawn(manifest.digest, standing):
        return refused.model_copy(update={"reason": f"{refused.reason}; that baseline {WAS_WITHDRAWN}"})
    compared, no_champion = compare_with_champion(bundle, training, k, gate.metric, standing, to_go, device)
    return decide_baseline(gate, refused, compared, no_champion)


def promote_decided(bundle: Path, model: str, metrics: dict[str, Any], decision: Decision) -> Version:
    """Put a bundle into service with what decided it, unless something else went into service since.

    Raises:
        ChampionChanged: something was promoted or rolled back since the decision.
    """
    champion = read_standing(model).in_service
    value = decision.baseline.value if decision.promote_baseline and decision.baseline else decision.candidate
    manifest = record_evaluation(bundle, metrics, champion.digest if champion else None)
    labels = {
        "digest": manifest.digest,
        "kind": manifest.kind,
        "parent": champion.version if champion else "",
        "metric": decision.metric,
        "value": f"{value:.4f}",
    }
    return promote(bundle, model, labels, reason=decision.reason, generation=decision.generation)
