"""Which bundle is meant, and what the model store says of each: for people, who name them in several ways."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Any

from core.layout import Layout
from flows.errors import BundleNotFound, BundleRefused, NothingInService
from flows.promotion.model_store import Version, list_versions, newest_version, promote, withdrawn_digests
from recommender.bundle.manifest import MANIFEST, Manifest, read_manifest
from recommender.evaluation.names import SERVED
from recommender.metrics.ranking import metric_key

_MIN_DIGEST_CHARS = 4
_SHOWN_DIGEST_CHARS = 16


def find_bundle(layout: Layout, named: str = "") -> Path:
    """The folder of the bundle that somebody names.

    Args:
        layout: Of the shop.
        named: A folder, a version (or tag) in the model store, or the beginning of the digest of a candidate; empty
            for the bundle in service.
    Raises:
        NothingInService: none is named, and none is in service.
        BundleNotFound: there is no such bundle, or two differ that the digest may mean.
    """
    if not named:
        version = newest_version(layout.model_name)
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
    for version in list_versions(layout.model_name):
        if named in (version.version, version.tag):
            return version.folder
    found = {digest: folder for digest, folder in _candidates(layout) if digest.startswith(named)}
    if len(found) == 1 and len(named) >= _MIN_DIGEST_CHARS:
        return next(iter(found.values()))
    raise BundleNotFound(
        "Cannot find the bundle",
        got=f"bundle={named}" + (f", which {len(found)} digests begin with" if found else ""),
        expected=f"a folder, a promoted version, or a candidate's digest, {_MIN_DIGEST_CHARS} characters at least",
        where=str(layout.bundle("").parent if found else layout.root / "candidates"),
        do="See the promoted ones: sommelier models list",
    )


def version_rows(name: str) -> list[dict[str, Any]]:
    """One row per promoted version, newest first: what it is, when it came, and what became of it.

    Args:
        name: The model's name in the store.
    """
    versions = list_versions(name)
    withdrawn = withdrawn_digests(name)
    rows = []
    for place, version in enumerate(versions):
        labels = version.labels
        digest = labels.get("digest", "")
        state = "in service" if place == 0 else "withdrawn" if digest in withdrawn else "replaced"
        rows.append(
            {
                "version": version.version,
                "state": state,
                "digest": digest[:_SHOWN_DIGEST_CHARS],
                "kind": labels.get("kind", ""),
                "metric": labels.get("metric", ""),
                "value": labels.get("value", ""),
                "promoted_at": f"{version.created_at[:19]}Z",
                "note": _note(labels),
            }
        )
    return rows


def promote_by_hand(layout: Layout, folder: Path, reason: str) -> Version:
    """Put a bundle into service that the gate did not, or not now; one that is in service stays as it is.

    Args:
        layout: Of the shop.
        folder: The bundle.
        reason: Kept with the version, as the name of the user of this machine is.
    Raises:
        OtherSchemaVersion, BundleError: it was written by another version of this code, or is damaged.
        BundleRefused: it is another shop's.
    """
    from recommender.bundle.loading import verify_files

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
    champion = newest_version(layout.model_name)
    if champion and champion.labels.get("digest") == manifest.digest:
        return champion
    metric, value = _figure(manifest)
    labels = {
        "digest": manifest.digest,
        "kind": manifest.kind,
        "parent": champion.version if champion else "",
        "metric": metric,
        "value": value,
        "promoted_by": _user(),
        "reason": reason,
    }
    return promote(folder, layout.model_name, labels)


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


def _candidates(layout: Layout) -> Iterator[tuple[str, Path]]:
    """Digest and folder of every candidate, and of every baseline that could serve in its place; oldest first."""
    files = [*layout.bundle("").glob(f"*/{MANIFEST}"), *layout.baseline_bundle("").glob(f"*/{MANIFEST}")]
    for file in sorted(files, key=lambda file: file.stat().st_mtime):
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


def _note(labels: dict[str, str]) -> str:
    said = []
    if "rolled_back_to" in labels:
        said.append(f"rollback to {labels['rolled_back_to']}")
    elif labels.get("promoted_by"):
        said.append(f"by {labels['promoted_by']}")
    if labels.get("reason"):
        said.append(labels["reason"])
    return ": ".join(said)
