"""Whether a run starts from the weights in service, and why not.

Two bundles are started from. What is judged starts from the bundle as it was judged before, never from the one that was
fitted again on everything: that one has seen events of the new windows. What goes into service afterwards, which no
event judges, starts from what is in service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from core import schema
from core.promotions import Version, list_versions, read_standing
from core.storage import digest_of
from flows.erasure.receipts import read_receipts
from flows.promotion.bundles import find_judged
from flows.promotion.model_store import find_fault
from flows.reporting import artifacts
from flows.steps.step import Output, Start, StepContext, action, setting_of
from recommender.bundle.manifest import Chain, Component, Manifest, read_manifest, verify_files
from recommender.errors import BundleError
from recommender.fitting.component import SUMMARY
from recommender.fitting.summary import FitSummary

if TYPE_CHECKING:
    from features.training import TrainingSummary

# Whatever shapes the weights that are started from; other values of one of these are another model.
_SHAPING = ("encoder", "modality", "sequence", "augmentation", "features")
_WARM: tuple[Component, ...] = ("vectors", "sequence")


@dataclass(frozen=True)
class Plan:
    """What the fits of a run start from.

    Attributes:
        judged: What the candidate starts from; None for nothing.
        served: What its refit starts from; None where `judged` is.
        length: Warm starts since the last fit from nothing, this one counted.
        reason: Why so, one clause; empty where it was not asked for.
    """

    judged: Output[Start] | None = None
    served: Output[Start] | None = None
    length: int = 0
    reason: str = ""

    @property
    def chain(self) -> Chain | None:
        """As the candidate's manifest says it."""
        if self.judged is None:
            return None
        return Chain(parent=self.judged.value[0], judged_parent=self.judged.value[0], length=self.length)

    @property
    def served_chain(self) -> Chain | None:
        """As the refit's manifest says it."""
        chain = self.chain
        if chain is None or self.served is None:
            return None
        return chain.model_copy(update={"parent": self.served.value[0]})


FROM_NOTHING = Plan()


@dataclass(frozen=True)
class _Origin:
    """The bundles that may be started from, or why there are none."""

    judged: Path | None = None
    served: Path | None = None
    length: int = 0
    why_not: str = ""


@action("plan-warm-start", reads=("warm_start", *_SHAPING), computes=True)
def plan_warm_start(step: StepContext, fingerprint: str, training: Output[TrainingSummary]) -> Plan:
    """What the fits start from: the weights in service, or nothing, with the reason.

    Args:
        fingerprint: Of the data that were read.
    """
    plan = _plan(step, fingerprint, training)
    if plan.judged is None:
        get_run_logger().warning("Everything is fitted from nothing, as %s.", plan.reason)
    else:
        get_run_logger().info("The fits start from weights: %s.", plan.reason)
    return plan


def report_starts(plan: Plan, components: Mapping[Component, Output[bool]], is_refit: bool = False) -> None:
    """Keep with the run which components started from weights, and how much each did against a full fit."""
    if not plan.reason:
        return
    rows = start_rows(plan, {name: part.folder for name, part in components.items() if part.value})
    artifacts.publish_starts(rows, plan.reason, is_refit)


def start_rows(plan: Plan, folders: Mapping[Component, Path]) -> list[dict[str, Any]]:
    """One row per component: what it started from, what it learned from an epoch and in a full fit, epochs, seconds."""
    rows: list[dict[str, Any]] = []
    for name, folder in folders.items():
        summary = FitSummary.read(folder) if (folder / SUMMARY).exists() else None
        work = summary.work if summary else None
        rows.append(
            {
                "part": name,
                "start": f"bundle {work.parent[:16]}" if work else f"nothing: {_why(plan, name)}",
                "new": f"{work.new} {work.unit}" if work else "",
                "older beside them": work.replayed if work else "",
                "in a full fit": work.full if work else "",
                "epochs": summary.epochs if summary else "",
                "seconds": round(summary.seconds, 1) if summary else "",
            }
        )
    return rows


def _why(plan: Plan, name: Component) -> str:
    return plan.reason if plan.judged is None or name in _WARM else "this part has no warm start"


def _plan(step: StepContext, fingerprint: str, training: Output[TrainingSummary]) -> Plan:
    settings = step.recipe.warm_start
    if not settings.enabled:
        return Plan(reason="recipe.warm_start.enabled is false")
    try:
        origin = _find_origin(step, fingerprint)
        if origin.judged is None or origin.served is None:
            return Plan(reason=origin.why_not)
        judged, served = (_whole(folder) for folder in (origin.judged, origin.served))
        why_not = _unfit(step, judged, served, training) or _other_encoder(step, origin.judged, origin.served)
    except BundleError as error:
        return Plan(reason=f"the weights cannot be read ({error.got}, expected {error.expected})")
    if why_not:
        return Plan(reason=why_not)
    starts = [
        _output(folder, manifest, settings.replay_share)
        for folder, manifest in ((origin.judged, judged), (origin.served, served))
    ]
    told = f"those of bundle {judged.digest[:16]}, which learned until {judged.data.learned_until_at:%Y-%m-%d %H:%M}"
    of = f"warm start {origin.length} of {settings.max_chain} since the last full fit"
    return Plan(starts[0], starts[1], origin.length, f"{told}, {of}")


def _find_origin(step: StepContext, fingerprint: str) -> _Origin:
    """The bundle in service, as it is and as it was judged; where it was made of these very data, what it came from:
    equal work is then found done.
    """
    layout = step.layout
    standing = read_standing(layout.model_name)
    champion = standing.in_service
    if champion is None:
        return _Origin(why_not="no bundle is in service")
    if fault := find_fault(champion):
        return _Origin(why_not=f"the bundle in service, {champion.tag}, is damaged ({fault})")
    manifest = read_manifest(champion.folder)
    chain = manifest.warm_start
    if manifest.data.fingerprint == fingerprint:
        if chain is None:
            return _Origin(why_not=f"what is in service, {champion.tag}, was fitted from nothing on the same data")
        digests, length = (chain.judged_parent, chain.parent), chain.length
    else:
        digests, length = (manifest.judged or manifest.digest, manifest.digest), 1 + (chain.length if chain else 0)
    if length > step.recipe.warm_start.max_chain:
        return _Origin(why_not=f"{length - 1} warm starts followed each other (recipe.warm_start.max_chain)")
    gone = {one.digest for receipt in read_receipts(layout) if receipt.is_open for one in receipt.scheduled}
    if gone & {*digests, manifest.digest}:
        return _Origin(why_not="the weights in service learned from a person who was forgotten")
    versions = list_versions(layout.model_name)
    judged, served = (_folder_of(step, digest, versions) for digest in digests)
    if judged is None or served is None:
        missing = digests[0] if judged is None else digests[1]
        return _Origin(why_not=f"bundle {missing[:16]}, whose weights would be started from, is gone")
    return _Origin(judged, served, length)


def _folder_of(step: StepContext, digest: str, versions: list[Version]) -> Path | None:
    promoted = next((version.folder for version in versions if version.digest == digest), None)
    return promoted or find_judged(step.layout, digest)


def _whole(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    return manifest


def _unfit(step: StepContext, judged: Manifest, served: Manifest, training: Output[TrainingSummary]) -> str:
    """Why weights do not fit, one clause; empty where they do."""
    for manifest in (judged, served):
        if manifest.kind != "blend":
            return f"a baseline ranks in service ({manifest.kind}), which has no weights"
        for path in _SHAPING:
            if step.settings[path] != setting_of(manifest.recipe, path):
                return f"recipe.{path} is another one than the bundle in service was fitted by"
    if judged.recipe.modality.path is not None:
        return "recipe.modality is given, whose vectors are whitened anew for each catalogue"
    return leak(judged, training.value) or _nothing_new(judged, training)


def leak(judged: Manifest, windows: TrainingSummary) -> str:
    """Why a candidate that starts from these weights could not be judged, one clause; empty where it can.

    They must have learned of no event of its validation or test window, and their choices, which they made on a window
    of their own, must be of before its test window.
    """
    until, validation_at, test_at = (
        judged.data.learned_until_at,
        datetime.fromisoformat(windows.validation_at),
        datetime.fromisoformat(windows.test_at),
    )
    # A judged bundle learned of what came before `validation_at`; any other learned of `learned_until` too.
    is_exclusive = not judged.judged and until == datetime.fromisoformat(judged.data.validation_at)
    if until > validation_at or (until == validation_at and not is_exclusive):
        return f"weights that learned until {until:%Y-%m-%d %H:%M} know events of the new windows"
    if judged.data.unknown_from > test_at:
        return (
            f"weights that were chosen by events until {judged.data.unknown_from:%Y-%m-%d %H:%M} know the test window"
        )
    return ""


def _nothing_new(judged: Manifest, training: Output[TrainingSummary]) -> str:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    since = round(judged.data.learned_until_at.timestamp() * 1e6)
    times = pq.read_table(training.folder / "sequences.parquet", columns=[schema.TARGET_TIMES]).column(0)
    newest = pc.max(pc.list_flatten(times)).as_py()
    if newest is None or newest < since:
        return "nothing that is new lies before the validation window"
    return ""


def _other_encoder(step: StepContext, *bundles: Path) -> str:
    from recommender.retrieval.text.embedding import is_made_by

    encoder = step.recipe.encoder
    if all(is_made_by(bundle / "vectors", encoder, step.device) for bundle in bundles):
        return ""
    return (
        f"recipe.encoder.model={encoder.model} is not known to be the model, with the arithmetic and libraries, that "
        "made the vectors in service"
    )


def _output(folder: Path, manifest: Manifest, replay_share: float) -> Output[Start]:
    start: Start = (manifest.digest, manifest.data.learned_until_at.isoformat(), replay_share)
    return Output(folder, digest_of(*start), start)
