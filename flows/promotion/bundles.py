"""Which bundle is meant, and what the model store says of each: for people, who name them in several ways."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Any

from core.experiments import pinned
from core.layout import Layout
from core.promotions import Standing, Version, list_versions, read_standing, version_in_service
from core.storage import newest_first, together, whole_folders
from flows.errors import BundleNotFound, BundleRefused, NothingInService
from flows.promotion.model_store import find_fault, promote
from flows.promotion.refits import SHOWN_DIGEST_CHARS, labels_of
from recommender.bundle.manifest import MANIFEST, Manifest, read_manifest, verify_files
from recommender.evaluation.names import SERVED
from recommender.metrics.ranking import metric_key

_MIN_DIGEST_CHARS = 4


def find_bundle(layout: Layout, named: str = "") -> Path:
    """The folder of the bundle that somebody names.

    Args:
        layout: Of the shop.
        named: A folder, a version (or tag) in the model store, or the beginning of the digest of a candidate or of a
            promoted bundle, in service or not; empty for the bundle in service.
    Raises:
        NothingInService: none is named, and none is in service.
        BundleNotFound: there is no such bundle, or two differ that the digest may mean.
    """
    if not named:
        version = version_in_service(layout.model_name)
        if version is None:
            raise NothingInService(
                "Cannot find the bundle in service",
                got=f"shop={layout.shop}",
                expected="a shop with a promoted bundle",
                where=str(layout.root),
                do="Run the pipeline first, or name the shop: --set shop=<name>",
            )
        return version.folder
    if Path(named).is_dir():
        return Path(named).absolute()
    promoted = list_versions(layout.model_name)
    for version in promoted:
        if named in (version.version, version.tag):
            return version.folder
    known = {**{version.digest: version.folder for version in reversed(promoted)}, **dict(_candidates(layout))}
    found = {digest: folder for digest, folder in known.items() if digest.startswith(named)}
    if len(found) == 1 and len(named) >= _MIN_DIGEST_CHARS:
        return next(iter(found.values()))
    raise BundleNotFound(
        "Cannot find the bundle",
        got=f"bundle={named}" + (f", which {len(found)} digests begin with" if found else ""),
        expected="a folder, a promoted version, or the digest of one or of a candidate, of which "
        f"{_MIN_DIGEST_CHARS} characters are enough",
        where=str(layout.root / "candidates"),
        do="See the promoted ones: sommelier models list",
    )


def version_rows(name: str) -> list[dict[str, Any]]:
    """One row per promoted version, newest first: what it is, when it last went into service, and what became of it.

    The figure of a bundle that was fitted again on everything is that of the one that was judged, which is named.

    Args:
        name: The model's name in the store.
    """
    standing, versions = read_standing(name), list_versions(name)
    current = standing.in_service
    if current and current.version not in {version.version for version in versions}:
        versions.insert(0, current)  # damaged, and in service all the same
    pin = pinned(name, standing)
    rows = [_row(version, standing) for version in versions]
    return [{**row, "state": f"{row['state']}, pinned"} if row["version"] == pin else row for row in rows]


def row_in_service(name: str) -> dict[str, Any] | None:
    """The row of the bundle in service; None before the first promotion."""
    current = version_in_service(name)
    return next((row for row in version_rows(name) if current and row["version"] == current.version), None)


def _row(version: Version, standing: Standing) -> dict[str, Any]:
    labels, change = version.labels, standing.last_change(version.version)
    return {
        "version": version.version,
        "state": _state(version, standing),
        "digest": version.digest[:SHOWN_DIGEST_CHARS],
        "kind": labels.get("kind", ""),
        "metric": labels.get("metric", ""),
        "value": labels.get("value", ""),
        "learned_until": labels.get("learned_until", "")[:16],
        "judged": version.judged[:SHOWN_DIGEST_CHARS],
        "promoted_at": f"{(change.at if change else version.created_at)[:19]}Z",
        "note": _note(version, standing),
    }


def _state(version: Version, standing: Standing) -> str:
    if standing.changes and standing.changes[-1].version == version.version:
        return "in service"
    if standing.last_change(version.version) is None:
        return "never in service"  # a promotion was killed before it was one
    return "withdrawn" if version.digest in standing.withdrawn else "replaced"


def promote_by_hand(layout: Layout, folder: Path, reason: str) -> Version:
    """Put a bundle into service that the gate did not, or not now; one that is in service stays as it is.

    One that a rollback withdrew is not withdrawn any more. Waits while a person is removed, whose bundles may go.

    Args:
        layout: Of the shop.
        folder: The bundle.
        reason: Kept with the version, as the name of the user of this machine is.
    Raises:
        OtherSchemaVersion, BundleError: it was written by another version of this code, or is damaged.
        BundleRefused: it is another shop's.
    """
    with together(layout.data_lock):
        return _promote_by_hand(layout, folder, reason)


def _promote_by_hand(layout: Layout, folder: Path, reason: str) -> Version:
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    if manifest.shop != layout.shop:
        raise BundleRefused(
            "Cannot promote",
            got=f"shop={manifest.shop}",
            expected=layout.shop,
            where=str(folder / MANIFEST),
            do=f"Name its shop: --set shop={manifest.shop}",
        )
    champion = version_in_service(layout.model_name)
    if champion and champion.digest == manifest.digest and not find_fault(champion):
        return champion
    metric, value = _figure(manifest)
    labels = {
        **labels_of(manifest),
        "parent": champion.version if champion else "",
        "metric": metric,
        "value": value,
        "promoted_by": _user(),
        "reason": reason,
    }
    return promote(folder, layout.model_name, labels, reason=reason)


def describe_promotion(before: Standing, version: Version, reason: str) -> list[str]:
    """What became of a promotion by hand, a line each.

    Args:
        before: What was in service when it was asked for.
        version: In service since.
        reason: That was given.
    """
    what = f"{version.tag}, digest {version.digest}"
    if before.in_service == version:
        lines = [f"in service already: {what}; nothing changed"]
        return [*lines, "the reason is not kept: it belongs to a change"] if reason else lines
    lines = [f"in service: {what}"]
    return (
        [*lines, "a rollback had withdrawn it; it is not withdrawn any more"]
        if version.digest in before.withdrawn
        else lines
    )


def read_metrics(folder: Path) -> Manifest:
    """The manifest of a bundle that was evaluated.

    Raises:
        OtherSchemaVersion, BundleError: it cannot be read.
        BundleRefused: it was not evaluated.
    """
    manifest = read_manifest(folder)
    if not {"ranking", "intervals"} <= manifest.metrics.keys():
        raise BundleRefused(
            "Cannot show the evaluation",
            got=f"metrics={sorted(manifest.metrics)}",
            expected="those of an evaluated bundle",
            where=str(folder / MANIFEST),
            do="Name one that the pipeline evaluated: sommelier models list",
        )
    return manifest


def find_judged(layout: Layout, digest: str) -> Path | None:
    """The folder of a bundle as it was judged; None where it is gone."""
    return dict(_candidates(layout)).get(digest)


def _candidates(layout: Layout) -> Iterator[tuple[str, Path]]:
    """Digest and folder of every candidate, of every baseline that could serve in its place, and of what was fitted
    again of them; oldest first.
    """
    places = (layout.bundle(""), layout.baseline_bundle(""), layout.refit_bundle(""))
    files = newest_first(folder / MANIFEST for place in places for folder in whole_folders(place))
    for file in reversed(files):
        try:
            yield str(json.loads(file.read_text(encoding="utf-8"))["digest"]), file.parent
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: it can be named by its folder, which says what is wrong with it


def _figure(manifest: Manifest) -> tuple[str, str]:
    """The metric that the gate reads, and the bundle's figure of its own evaluation; empty where there is none."""
    metric = metric_key(manifest.recipe.gate.metric, manifest.recipe.evaluation.k)
    ranker = SERVED if manifest.kind == "blend" else manifest.kind
    value = manifest.metrics.get("ranking", {}).get(ranker, {}).get(metric)
    return ("", "") if value is None else (metric, f"{value:.4f}")


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user may have no name


def _note(version: Version, standing: Standing) -> str:
    """Who promoted it, and the reasons that people gave: of the promotion, or of the rollback that came after."""
    labels, change = version.labels, standing.last_change(version.version)
    rollback = next((one for one in reversed(standing.changes) if version.digest in one.withdrawn), None)
    if change is None:
        said = []
    elif rollback and version.digest in standing.withdrawn:
        said = ["withdrawn", rollback.reason]
    elif change.action == "rolled back":
        said = ["back by a rollback", change.reason]
    else:
        said = [f"by {labels['promoted_by']}" if labels.get("promoted_by") else "", labels.get("reason", "")]
    return ": ".join(filter(None, said))
