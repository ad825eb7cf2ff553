"""Assemble a bundle from components: check them, copy them, write the manifest; atomically."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.settings.tree import Recipe
from core.storage import atomic_folder, digest_of, file_digest, write_json
from recommender.bundle.data_range import DataRange
from recommender.bundle.manifest import (
    MANIFEST,
    SCHEMA_VERSION,
    Chain,
    Component,
    Kind,
    Manifest,
    WriterOrigin,
    read_manifest,
)
from recommender.errors import BundleError
from recommender.fitting.component import SUMMARY

# By whether a baseline ranks, what a bundle must hold, and what it must not.
REQUIRED: dict[bool, tuple[Component, ...]] = {False: ("vectors", "sequence"), True: ("vectors", "baseline")}
FOREIGN: dict[bool, tuple[Component, ...]] = {False: ("baseline",), True: ("sequence", "blend", "generative")}


def assemble_bundle(
    target: Path,
    *,
    shop: str,
    recipe: Recipe,
    data: DataRange,
    components: Mapping[Component, Path],
    code_version: str,
    kind: Kind = "blend",
    judged: str | None = None,
    warm_start: Chain | None = None,
    writer_from: WriterOrigin | None = None,
) -> Manifest:
    """Copy the components into one folder with a manifest, atomically.

    Args:
        target: The bundle's folder; one that stands there is replaced.
        components: The folders that the fits wrote; all but the required ones may be missing.
        kind: Who ranks.
        judged: Digest of the bundle that is evaluated in its place.
        warm_start: Whose weights it started from, where it did.
        writer_from: Whose writer it holds, where that is not its own.
    Raises:
        BundleError: a required component is not given, one is given that such a bundle does not hold, or a component's
            folder does not exist.
    """
    _check_components(kind, components)
    with atomic_folder(target) as folder:
        for name, source in components.items():
            if not source.is_dir():
                raise BundleError(
                    "Cannot assemble bundle", got=f"{name}={source}", expected="a folder", do="Fit it again"
                )
            shutil.copytree(source, folder / name)
        files = _digests(folder)
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            kind=kind,
            shop=shop,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            recipe=recipe,
            data=data,
            metrics={},
            parent=None,
            code_version=code_version,
            digest=_identity(files, recipe),
            files=files,
            judged=judged,
            warm_start=warm_start,
            writer_from=writer_from,
        )
        write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _check_components(kind: Kind, components: Mapping[Component, Path]) -> None:
    is_baseline = kind != "blend"
    for name in REQUIRED[is_baseline]:
        if name not in components:
            raise BundleError(
                "Cannot assemble bundle",
                got=f"components={sorted(components)}",
                expected=f"'{name}' among them",
                do="Fit it first",
            )
    for name in FOREIGN[is_baseline]:
        if name in components:
            raise BundleError(
                "Cannot assemble bundle",
                got=f"components={sorted(components)}",
                expected=f"no '{name}' among them, as the kind is '{kind}'",
                do="Leave it out",
            )


def assemble_baseline(
    target: Path,
    candidate: Path,
    baseline: Path,
    kind: Kind,
    code_version: str,
    writer: tuple[Path, WriterOrigin] | None = None,
) -> Manifest:
    """A bundle in which a baseline ranks in place of what a candidate learned; its scorer, writer and
    explainer stay.

    Args:
        target: The bundle's folder; one that stands there is replaced.
        candidate: The bundle whose vectors, scorer, writer, explainer, recipe and data it takes over.
        baseline: The `baseline` component.
        writer: The writer component that takes the place of the candidate's, and where it came from.
    Raises:
        BundleError: the candidate cannot be read, or the baseline's folder does not exist.
    """
    manifest = read_manifest(candidate)
    kept: tuple[Component, ...] = ("vectors", "scorer", "writer", "explainer")
    components = {name: candidate / name for name in kept if manifest.has(name)}
    if writer is not None:
        components["writer"] = writer[0]
    return assemble_bundle(
        target,
        shop=manifest.shop,
        recipe=manifest.recipe,
        data=manifest.data,
        components={**components, "baseline": baseline},
        code_version=code_version,
        kind=kind,
        writer_from=None if writer is None else writer[1],
    )


def record_evaluation(folder: Path, metrics: Mapping[str, Any], parent: str | None) -> Manifest:
    """Put what the gate saw into a bundle's manifest, atomically; nothing else changes, the digest neither.

    Args:
        metrics: Of the evaluation, JSON-able.
        parent: Digest of the bundle that was in service then, if any.
    """
    manifest = read_manifest(folder).model_copy(update={"metrics": dict(metrics), "parent": parent})
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def _identity(files: Mapping[str, str], recipe: Recipe) -> str:
    lasting = {name: digest for name, digest in files.items() if Path(name).name != SUMMARY}
    return digest_of(lasting, recipe.model_dump(mode="json", exclude={"source": {"path"}}))
