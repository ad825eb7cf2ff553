"""A simulated shop with its online store and a bundle in service, all made by the product's own functions."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.harness import options
from benchmarks.harness.datasets import Dataset
from benchmarks.harness.models import Fits
from benchmarks.serving_load.servers import variables_of
from core import schema
from core.layout import Layout
from core.settings.loading import load_settings

MOST_USERS = 500


@dataclass(frozen=True)
class ServedShop:
    """A shop that a service can be started for.

    Attributes:
        layout: Where it lies.
        bentoml_home: The model store, with a promoted bundle.
        users: Ids of users with a history.
        n_items: Of the catalogue.
    """

    layout: Layout
    bentoml_home: Path
    users: list[str]
    n_items: int

    def variables(self, **serving: object) -> dict[str, str]:
        """The environment of its service."""
        return variables_of(self.layout, self.bentoml_home, serving)

    def recommend_bodies(self, k: int = 10) -> list[str]:
        """A request for a list per user."""
        return [json.dumps({"user_id": user, "k": k}) for user in self.users]


@contextmanager
def open_shop(n_users: int, n_items: int, epochs: int, keep: Path | None) -> Iterator[ServedShop]:
    """Simulate, validate, count, fit and promote.

    Args:
        keep: The shop is kept below this folder, and used again as it is by later versions of the code.
    """
    given = [
        f"source.kind={options.SIMULATED}", f"source.n_users={n_users}", f"source.n_items={n_items}",
        f"sequence.max_epochs={epochs}",
    ]  # fmt: skip
    recipe = load_settings(overrides=[f"recipe.{one}" for one in given]).recipe
    with tempfile.TemporaryDirectory() as name:
        folder = (Path(name) if keep is None else keep) / f"shop-{n_users}-{n_items}-{epochs}"
        data = Dataset(recipe, folder, Path(name))
        training, _ = data.time_split()
        yield _serve(data, training)


def _serve(data: Dataset, training: Path) -> ServedShop:
    from flows.promotion import model_store

    layout, home = Layout(data.folder.parent, data.folder.name), data.folder / "bentoml"
    bundle = data.folder / "fit" / "bundle"
    if not home.is_dir():
        if not bundle.is_dir():
            Fits(data.recipe, seed=7, threads=1).fit_bundle(training, data.folder / "fit")
        os.environ["BENTOML_HOME"] = str(home)
        model_store.promote(bundle, layout.model_name, {})
    users = pq.read_table(data.folder / "clean" / "interactions.parquet", columns=[schema.USER_ID])
    ids = sorted(set(users[schema.USER_ID].to_pylist()))
    random.Random(7).shuffle(ids)
    n_items = pq.read_metadata(data.folder / "clean" / "items.parquet").num_rows
    return ServedShop(layout, home, ids[:MOST_USERS], n_items)
