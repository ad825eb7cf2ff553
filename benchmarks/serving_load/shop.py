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
WRITER_MINUTES = 1.0


@dataclass(frozen=True)
class ServedShop:
    """A shop that a service can be started for.

    Attributes:
        layout: Where it lies.
        bentoml_home: The model store, with a promoted bundle.
        users: Ids of users with a history.
        items: The ids of the catalogue.
    """

    layout: Layout
    bentoml_home: Path
    users: list[str]
    items: list[str]

    def variables(self, **serving: object) -> dict[str, str]:
        """The environment of its service."""
        return variables_of(self.layout, self.bentoml_home, serving)

    def recommend_bodies(self, k: int = 10) -> list[str]:
        """A request for a list per user."""
        return [json.dumps({"user_id": user, "k": k}) for user in self.users]

    def review_bodies(self) -> list[str]:
        """A request for a review per user."""
        return [json.dumps({"user_id": user, "item_id": item, "rating": 5}) for user, item in self._pairs()]

    def event_bodies(self) -> list[str]:
        """A request with one event per user."""
        return [
            json.dumps({"events": [{"user_id": user, "item_id": item, "event": "view"}]})
            for user, item in self._pairs()
        ]

    def _pairs(self) -> list[tuple[str, str]]:
        return [(user, self.items[place % len(self.items)]) for place, user in enumerate(self.users)]


@contextmanager
def open_shop(
    n_users: int, n_items: int, epochs: int, keep: Path | None, writer: str | None = None
) -> Iterator[ServedShop]:
    """Simulate, validate, count, fit and promote.

    Args:
        writer: The kind of what writes reviews; none where it is left out.
        keep: The shop is kept below this folder, and used again as it is by later versions of the code.
    """
    given = [
        f"source.kind={options.SIMULATED}", f"source.n_users={n_users}", f"source.n_items={n_items}",
        f"sequence.max_epochs={epochs}",
    ]  # fmt: skip
    if writer is not None:
        given += [f"writer.kind={writer}", f"writer.minutes={WRITER_MINUTES}"]
    recipe = load_settings(overrides=[f"recipe.{one}" for one in given]).recipe
    with tempfile.TemporaryDirectory() as name:
        folder = (Path(name) if keep is None else keep) / "-".join(
            str(part) for part in ("shop", n_users, n_items, epochs, writer) if part is not None
        )
        data = Dataset(recipe, folder, Path(name))
        training, _ = data.time_split()
        yield _serve(data, training, writer is not None)


def _serve(data: Dataset, training: Path, writes: bool) -> ServedShop:
    from flows.promotion import model_store

    layout, home = Layout(data.folder.parent, data.folder.name), data.folder / "bentoml"
    bundle = data.folder / "fit" / "bundle"
    if not home.is_dir():
        if not bundle.is_dir():
            fits = Fits(data.recipe, seed=7, threads=1, models=layout.language_models if writes else None)
            fits.fit_bundle(training, data.folder / "fit")
        os.environ["BENTOML_HOME"] = str(home)
        model_store.promote(bundle, layout.model_name, {})
    users = pq.read_table(data.folder / "clean" / "interactions.parquet", columns=[schema.USER_ID])
    ids = sorted(set(users[schema.USER_ID].to_pylist()))
    random.Random(7).shuffle(ids)
    items = pq.read_table(data.folder / "clean" / "items.parquet", columns=[schema.ITEM_ID])
    return ServedShop(layout, home, ids[:MOST_USERS], sorted(items[schema.ITEM_ID].to_pylist()))
