"""The model bundle: a folder that holds everything serving needs, with a manifest that says what it is.

```
manifest.json                       schema version, kind, recipe, data range, metrics, parent, digests of all files
vectors/  catalogue.parquet, ids.json, vectors.safetensors, whitening.safetensors, encoder.json
          encoder.safetensors (where the text encoder was fine-tuned and that helped: what it learned)
sequence/ sequence.safetensors, sequence.json
blend/    neighbours.safetensors, neighbours.json, blend.json, cold.json, newcomers.safetensors
generative/ generative.safetensors, generative.json (absent where it is switched off)
scorer/   (absent where the shop has too few ratings)
writer/   (absent where the shop has too few reviews)
baseline/ baseline.json, baseline.safetensors (in place of sequence, blend and generative, where the kind is a baseline)
```
Weights are safetensors, never pickle. It is written atomically, and its files are checked when it is read.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from recommender.errors import BundleError, OtherSchemaVersion
from recommender.settings import BaselineKind, Recipe
from recommender.storage import atomic_folder, digest_of, file_digest, write_json

if TYPE_CHECKING:
    from recommender.baseline_ranker import BaselineRanker
    from recommender.catalogue import Catalogue
    from recommender.feedback.writer import FeedbackWriter
    from recommender.generative.ranker import GenerativeRanker
    from recommender.item_vectors import ItemVectors
    from recommender.ranker import Ranker
    from recommender.scoring.scorer import PairScorer
    from recommender.scoring.stacked_scorer import StackedScorer

SCHEMA_VERSION = 4
MANIFEST = "manifest.json"
# What a fit says of itself (seconds, losses): part of the bundle, but no part of what makes two bundles equal.
SUMMARY = "summary.json"

Component = Literal["vectors", "sequence", "blend", "generative", "baseline", "scorer", "writer"]
# Who ranks: what was learned, or the baseline of that name.
Kind = Literal["blend"] | BaselineKind
# By whether a baseline ranks, what a bundle must hold, and what it must not.
REQUIRED: dict[bool, tuple[Component, ...]] = {False: ("vectors", "sequence"), True: ("vectors", "baseline")}
FOREIGN: dict[bool, tuple[Component, ...]] = {False: ("baseline",), True: ("sequence", "blend", "generative")}


class DataRange(BaseModel):
    """Which events the bundle learned from and was judged on. Times are ISO 8601, UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    first_event_at: str
    last_event_at: str
    validation_at: str
    test_at: str
    rows: dict[str, int]


class Manifest(BaseModel):
    """What a bundle says of itself.

    Attributes:
        kind: Who ranks: the blend of what was learned, or a baseline that ranked better.
        digest: Of all files but the summaries, and of the recipe, wherever its source lies: equal data, recipe and
            seed give equal digests.
        metrics: Of its evaluation; empty, as `parent` is None, until `record_judgement`.
        files: Name within the folder to SHA-256, for every file but the manifest.
        parent: The digest of the bundle that was in service when this one was judged.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    kind: Kind
    shop: str
    created_at: str
    recipe: Recipe
    data: DataRange
    metrics: dict[str, Any]
    parent: str | None
    code_version: str
    digest: str
    files: dict[str, str]


@dataclass
class Bundle:
    """A bundle in memory, ready to answer.

    `scorer` and `writer` are None where the shop's data did not allow one, `generative` where the recipe has it off or
    a baseline ranks.
    """

    folder: Path
    manifest: Manifest
    catalogue: Catalogue
    ranker: Ranker | BaselineRanker
    scorer: PairScorer | StackedScorer | None
    writer: FeedbackWriter | None
    generative: GenerativeRanker | None = None


def assemble_bundle(
    target: Path,
    *,
    shop: str,
    recipe: Recipe,
    data: DataRange,
    components: Mapping[Component, Path],
    code_version: str,
    kind: Kind = "blend",
) -> Manifest:
    """Copy the components into one folder with a manifest, atomically.

    Args:
        target: The bundle's folder; one that stands there is replaced.
        components: The folders that the fits wrote; all but the required ones may be missing.
        kind: Who ranks.
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


def assemble_baseline(target: Path, candidate: Path, baseline: Path, kind: Kind, code_version: str) -> Manifest:
    """A bundle in which a baseline ranks in place of what a candidate learned; its scorer and writer stay.

    Args:
        target: The bundle's folder; one that stands there is replaced.
        candidate: The bundle whose vectors, scorer, writer, recipe and data it takes over.
        baseline: The `baseline` component.
    Raises:
        BundleError: the candidate cannot be read, or the baseline's folder does not exist.
    """
    manifest = read_manifest(candidate)
    kept: tuple[Component, ...] = ("vectors", "scorer", "writer")
    return assemble_bundle(
        target,
        shop=manifest.shop,
        recipe=manifest.recipe,
        data=manifest.data,
        components={**{name: candidate / name for name in kept if _has(manifest, name)}, "baseline": baseline},
        code_version=code_version,
        kind=kind,
    )


def record_judgement(folder: Path, metrics: Mapping[str, Any], parent: str | None) -> Manifest:
    """Put what the gate saw into a bundle's manifest, atomically; nothing else changes, the digest neither.

    Args:
        metrics: Of the evaluation, JSON-able.
        parent: Digest of the bundle that was in service then, if any.
    """
    manifest = read_manifest(folder).model_copy(update={"metrics": dict(metrics), "parent": parent})
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest alone, quickly; the files are not looked at.

    Raises:
        OtherSchemaVersion: it was written by another version of this code.
        BundleError: no manifest, not JSON, or a field is missing or wrong.
    """
    path = folder / MANIFEST
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(
            "Cannot load bundle",
            got=f"manifest={path}",
            expected=f"readable JSON, but {error}",
            do="Train a new one: make run",
        ) from error
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != SCHEMA_VERSION:
        raise OtherSchemaVersion(
            "Cannot load bundle",
            got=f"schema_version={version}",
            expected=str(SCHEMA_VERSION),
            where=str(path),
            do="Train a new one: make run",
        )
    try:
        return Manifest.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            "Cannot load bundle",
            got=f"{name}={first.get('input')!r}",
            expected=first["msg"],
            where=str(path),
            do="Train a new one: make run",
        ) from error


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle whole, having checked every file against the manifest.

    Raises:
        BundleError: the manifest cannot be read, or a file is missing or differs from what the manifest says.
    """
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    ranker = _load_served(folder, manifest)
    vectors = ranker.vectors
    return Bundle(
        folder=folder,
        manifest=manifest,
        catalogue=vectors.catalogue,
        ranker=ranker,
        scorer=_load_scorer(folder, manifest, vectors),
        writer=_load_writer(folder, manifest),
        generative=_load_generative(folder, manifest, vectors),
    )


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check every file's SHA-256.

    Raises:
        BundleError: names the first file that is missing or differs.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        got = file_digest(path) if path.is_file() else "missing"
        if got != expected:
            raise BundleError(
                "Cannot load bundle",
                got=f"{name}={got[:16]}",
                expected=f"sha256 {expected[:16]}",
                where=str(folder),
                do="The bundle is damaged: promote another one, or train a new one: make run",
            )


def _load_served(folder: Path, manifest: Manifest) -> Ranker | BaselineRanker:
    if manifest.kind == "blend":
        return load_ranker(
            folder / "vectors", folder / "sequence", folder / "blend" if _has(manifest, "blend") else None
        )
    from recommender.baseline_ranker import BaselineRanker
    from recommender.item_vectors import ItemVectors

    ranker = BaselineRanker.load(folder / "baseline", ItemVectors.load(folder / "vectors"))
    if ranker.kind != manifest.kind:
        raise BundleError(
            "Cannot load bundle",
            got=f"baseline={ranker.kind}",
            expected=f"{manifest.kind}, as the manifest says",
            where=str(folder),
            do="Train a new one: make run",
        )
    return ranker


def load_ranker(vectors: Path, sequence: Path, blend: Path | None) -> Ranker:
    """The ranker of these components, as it is served; `blend` is None where there is none.

    Raises:
        BundleError: a component is missing or damaged.
    """
    from recommender.blend import Blend, ColdItems
    from recommender.item_vectors import ItemVectors
    from recommender.neighbours import NeighbourModel
    from recommender.newcomers import EncoderOf, Newcomers, NewcomerWeights
    from recommender.ranker import Ranker
    from recommender.sequence_model import load_sequence_model

    items = ItemVectors.load(vectors)
    model = load_sequence_model(sequence, items)
    if blend is None:
        return Ranker(items, model)
    newcomers = Newcomers(NewcomerWeights.load(blend), EncoderOf(vectors))
    return Ranker(items, model, NeighbourModel.load(blend), Blend.load(blend), ColdItems.load(blend), newcomers)


def _load_generative(folder: Path, manifest: Manifest, vectors: ItemVectors) -> GenerativeRanker | None:
    if not _has(manifest, "generative"):
        return None
    from recommender.generative.ranker import GenerativeRanker

    return GenerativeRanker.load(folder / "generative", vectors)


def _load_scorer(folder: Path, manifest: Manifest, vectors: ItemVectors) -> PairScorer | StackedScorer | None:
    if not _has(manifest, "scorer"):
        return None
    from recommender.scoring.stacked_scorer import load_scorer

    return load_scorer(folder / "scorer", vectors)


def _load_writer(folder: Path, manifest: Manifest) -> FeedbackWriter | None:
    if not _has(manifest, "writer"):
        return None
    from recommender.feedback.writer import FeedbackWriter

    return FeedbackWriter.load(folder / "writer")


def _has(manifest: Manifest, component: Component) -> bool:
    return any(name.startswith(f"{component}/") for name in manifest.files)


def _digests(folder: Path) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in paths}


def _identity(files: Mapping[str, str], recipe: Recipe) -> str:
    lasting = {name: digest for name, digest in files.items() if Path(name).name != SUMMARY}
    return digest_of(lasting, recipe.model_dump(mode="json", exclude={"source": {"path"}}))
