"""Finishing what forgetting left to do: once a bundle serves that knows nothing of the person, the others go."""

from __future__ import annotations

import json
from pathlib import Path

from core.layout import Layout
from core.promotions import read_standing
from features.erasure import is_unfinished
from flows.erasure.files import remove, stage_folders
from flows.erasure.receipts import Learned, Receipt, now, read_receipts, save
from flows.promotion.model_store import erase_versions, permit_bundle
from recommender.bundle.manifest import MANIFEST

# Where the bundles lie that are made before one of them goes into the model store.
_MADE = {"candidate": Layout.bundle, "baseline": Layout.baseline_bundle, "refit": Layout.refit_bundle}


def finish_erasures(layout: Layout) -> list[Receipt]:
    """Bring every receipt that waits for a retraining as far as what is in service now allows; those that changed.

    May be killed anywhere and called again.
    """
    changed = []
    for receipt in read_receipts(layout):
        if receipt.state != "retraining":
            continue
        found = _finish(layout, receipt)
        if found != receipt:
            changed.append(save(layout, found))
    return changed


def is_waiting(layout: Layout) -> bool:
    """Whether a receipt waits for features that are counted anew, or for another bundle in service."""
    return any(receipt.state == "retraining" for receipt in read_receipts(layout))


def _finish(layout: Layout, receipt: Receipt) -> Receipt:
    bundles = _without_replaced(layout, receipt, tuple(_looked_at(layout, one) for one in receipt.bundles or ()))
    found = receipt.model_copy(update={"bundles": bundles, "features": not is_unfinished(layout.feast)})
    if found.features and not found.scheduled:
        return found.model_copy(update={"state": "complete", "finished_at": now()})
    return found


def _looked_at(layout: Layout, bundle: Learned) -> Learned:
    """A bundle as it stands now: one beside the store is removed; one in it that was trained again, alike, stays."""
    if bundle.state != "scheduled":
        return bundle
    if bundle.place != "model store":
        folder = _MADE[bundle.place](layout, bundle.name)
        if folder.is_dir():
            remove(folder)
        return bundle.model_copy(update={"state": "removed"})
    made = [folder for stage in ("candidates", "baselines", "refits") for folder in stage_folders(layout, stage)]
    if bundle.digest in map(_digest_of, made):
        # Those that are there now were all made since, without the person.
        permit_bundle(layout.model_name, bundle.digest)
        return bundle.model_copy(update={"state": "unaffected"})
    return bundle


def _without_replaced(layout: Layout, receipt: Receipt, bundles: tuple[Learned, ...]) -> tuple[Learned, ...]:
    """With the versions removed, unless one of them is in service still."""
    scheduled = {one.name: one.digest for one in bundles if one.state == "scheduled"}
    changes = read_standing(layout.model_name).changes
    if not scheduled or (changes and changes[-1].version in scheduled):
        return bundles
    erase_versions(layout.model_name, scheduled, receipt.at)
    return tuple(one.model_copy(update={"state": "removed"}) if one.name in scheduled else one for one in bundles)


def _digest_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return ""
