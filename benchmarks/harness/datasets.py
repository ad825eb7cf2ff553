"""A data set for a benchmark: from a source, real or simulated, to clean tables and training sets.

All of them go the product's own way: its reader, its data gate, its feature store and its splits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.settings.tree import Recipe
from core.storage import digest_of
from flows.steps.versions import code_version, library_versions
from recommender.inputs.protocols import LeaveOneOut, write_leave_one_out
from validation.gate import validate
from validation.sources.ingest import ingest, source_fingerprint

if TYPE_CHECKING:
    from features.training import TrainingSummary


@dataclass(frozen=True)
class Dataset:
    """One source and what is made of it; whatever the folder holds already is used again.

    Attributes:
        recipe: Names the source, and how it is validated, counted and split.
        folder: Where tables and training sets are kept.
        work: Where a benchmark puts its fits; goes away with the run.
    """

    recipe: Recipe
    folder: Path
    work: Path

    def clean_tables(self) -> Path:
        """The folder of the four tables, behind the data gate."""
        raw, clean = self.folder / "raw", self.folder / "clean"
        if not clean.is_dir():
            ingest(self.recipe.source, raw)
            validate(raw, clean, self.recipe.validation, self.folder / "docs")
        return clean

    def leave_one_out(self, protocol: LeaveOneOut) -> Path:
        """The training set of a leave-one-out protocol."""
        training = self.folder / protocol
        if not training.is_dir():
            write_leave_one_out(self.clean_tables(), training, protocol)
        return training

    def time_split(self) -> tuple[Path, TrainingSummary]:
        """The point-in-time training set of the pipeline's own split, with one cut-off for everyone."""
        # Here: Feast would add seconds and 130 MiB to every fit whose peak memory is measured.
        from features.refresh import refresh_features
        from features.training import SUMMARY_FILE, TrainingSummary, build_training_set

        training, feast = self.folder / "time", self.folder / "feast"
        if not training.is_dir():
            clean = self.clean_tables()
            refresh_features(clean, feast, self.recipe.features)
            build_training_set(clean, feast, training, self.recipe.features, self.recipe.evaluation)
        summary = (training / SUMMARY_FILE).read_text(encoding="utf-8")
        return training, TrainingSummary.model_validate_json(summary)


@contextmanager
def open_dataset(recipe: Recipe, cache: Path | None = None) -> Iterator[Dataset]:
    """A data set in a folder that goes away, or below a cache folder.

    Args:
        cache: Keeps tables and training sets for the next run, apart by source, settings, code and library versions.
    """
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        yield Dataset(recipe, work / "data" if cache is None else cache / _key(recipe), work)


def write_training_tables(folder: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write rows as tables of a training set."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        table = pa.Table.from_pylist(list(rows), schema=schema.TRAINING_TABLES[name])
        pq.write_table(table, folder / f"{name}.parquet")


def history(items: Sequence[str]) -> dict[str, Any]:
    """The columns of a history whose events carry no values."""
    return {schema.HISTORY_ITEMS: list(items), schema.HISTORY_VALUES: [None] * len(items)}


def _key(recipe: Recipe) -> str:
    decided_by = (recipe.validation, recipe.features, recipe.evaluation)
    settings = [one.model_dump(mode="json") for one in decided_by]
    return digest_of(code_version(), library_versions(), source_fingerprint(recipe.source), *settings)
