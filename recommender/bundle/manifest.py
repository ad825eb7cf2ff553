"""The model bundle: a folder that holds everything serving needs, with a manifest that says what it is.

```
manifest.json                       schema version, kind, recipe, data range, metrics, parent, digests of all files
vectors/  catalogue.parquet, ids.json, vectors.safetensors, whitening.safetensors, encoder.json
          encoder.safetensors (where the text encoder was fine-tuned and that helped: what it learned)
sequence/ sequence.safetensors, sequence.json
blend/    blend.json, parts.json, neighbours.* and item_knn.* (.safetensors, .json), cold.json, newcomers.safetensors
generative/ generative.safetensors, generative.json (absent where it is switched off)
scorer/   (absent where the shop has too few ratings)
writer/   (absent where the shop has too few reviews; of a pretrained one adapter.safetensors, writer.json alone)
explainer/ aspects.parquet, terms.parquet, counts.safetensors, relevance.json (absent where too few choices teach it)
baseline/ baseline.json, baseline.safetensors (in place of sequence, blend and generative, where the kind is a baseline)
```
Weights are safetensors, never pickle. It is written atomically, and its files are checked when it is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from core.settings.evaluation import BaselineKind
from core.settings.tree import Recipe
from core.storage import file_digest
from recommender.bundle.data_range import DataRange
from recommender.errors import BundleError, OtherSchemaVersion
from recommender.fitting.component import loading

SCHEMA_VERSION = 8
MANIFEST = "manifest.json"

Component = Literal["vectors", "sequence", "blend", "generative", "baseline", "scorer", "writer", "explainer"]
# Who ranks: what was learned, or the baseline of that name.
Kind = Literal["blend"] | BaselineKind


class Chain(BaseModel):
    """Where a bundle's weights came from, which was not fitted from nothing.

    Attributes:
        parent: The digest of the bundle whose weights it started from.
        judged_parent: Of the one that the bundle started from which was judged in its place; the same where that is
            itself.
        length: Warm starts since the last fit from nothing, this one counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parent: str
    judged_parent: str
    length: int


class WriterOrigin(BaseModel):
    """Where a bundle's writer came from, which was not fitted for it but taken over as it was.

    Attributes:
        bundle: The digest of the bundle that it was fitted for, also where another one had taken it over since.
        judged: Of the one that was evaluated in that one's place; None where it was evaluated itself.
        data: What that bundle learned from, and so the writer.
        metrics: How it does on the test window of the bundle that took it over, by a writer of the same settings that
            knows nothing of that window; None where that could not be measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str
    judged: str | None
    data: DataRange
    metrics: dict[str, Any] | None = None


class Manifest(BaseModel):
    """What a bundle says of itself.

    Attributes:
        kind: Who ranks: the blend of what was learned, or a baseline that ranked better.
        digest: Of all files but the summaries, and of the recipe, wherever its source lies: equal data, recipe and
            seed give equal digests.
        metrics: Of its evaluation; empty, as `parent` is None, until `record_evaluation`. Where `judged` is given, of
            the evaluation of that one.
        files: Name within the folder to SHA-256, for every file but the manifest.
        parent: The digest of the bundle that was in service when this one was evaluated.
        judged: The digest of the bundle that was evaluated in this one's place, whose choices it holds: it was fitted
            again on everything, so that no event is left to judge it by. None where it was evaluated itself.
        warm_start: Whose weights it started from; None where it was fitted from nothing.
        writer_from: Whose writer it holds; None where that is its own, or there is none.
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
    judged: str | None = None
    warm_start: Chain | None = None
    writer_from: WriterOrigin | None = None

    def has(self, component: Component) -> bool:
        """Whether the bundle holds this component."""
        return any(name.startswith(f"{component}/") for name in self.files)


def read_manifest(folder: Path) -> Manifest:
    """Read a bundle's manifest alone, quickly; the files are not looked at.

    Raises:
        OtherSchemaVersion: it was written by another version of this code.
        BundleError: no manifest, not JSON, or a field is missing or wrong.
    """
    path = folder / MANIFEST
    do = "Train a new one: make run"
    with loading("bundle", got=f"manifest={path}", expected="readable JSON", do=do):
        tree = json.loads(path.read_text(encoding="utf-8"))
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if version != SCHEMA_VERSION:
        raise OtherSchemaVersion(
            "Cannot load bundle",
            got=f"schema_version={version}",
            expected=str(SCHEMA_VERSION),
            where=str(path),
            do=do,
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
            do=do,
        ) from error


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
