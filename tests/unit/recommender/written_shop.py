"""A training set of reviews small enough to read, and language models small enough to train in a test."""

from pathlib import Path
from typing import Any

import numpy as np

from core import schema
from core.settings.models import SmallWriterSettings
from recommender.inputs.catalogue import Catalogue
from tests.unit.recommender.tiny_shop import write

TINY = SmallWriterSettings(
    vocabulary=400, width=32, n_layers=1, n_heads=2, max_tokens=96, batch_size=16, max_steps=12, learning_rate=3e-3
)
THINGS = ("kettle", "teapot", "grinder", "whisk")
TASTES = ("fruity", "smoky", "malty")
WORDS_BY_RATING = {
    5.0: "I love this",
    4.0: "Very good indeed, the",
    2.0: "I expected more of the",
    1.0: "Do not buy this",
}


def write_reviews(folder: Path, n_train: int, n_later: int = 20) -> Path:
    """Every review says the item's kind and taste, and how it was liked. Later ones are half validation, half test."""
    random = np.random.default_rng(2)
    folder.mkdir(parents=True, exist_ok=True)
    items = [(thing, taste) for thing in THINGS for taste in TASTES]
    rows: list[dict[str, Any]] = []
    for number in range(n_train + n_later):
        place = int(random.integers(len(items)))
        thing, taste = items[place]
        rating = float(random.choice(list(WORDS_BY_RATING)))
        later = "validation" if number % 2 else "test"
        rows.append(
            {
                schema.USER_ID: f"u{number % 7}",
                schema.ITEM_ID: f"i{place}",
                schema.RATING: rating,
                schema.TEXT: f"{WORDS_BY_RATING[rating]} {thing}. So {taste} a {thing} it is! Posted on day {number}.",
                schema.SPLIT: "train" if number < n_train else later,
                schema.HISTORY_ITEMS: [f"i{(place + 1) % len(items)}"],
                schema.HISTORY_VALUES: [4.0],
                schema.OWN_WORDS: "lovely",
                schema.ATTRIBUTES: "country France",
            }
        )
    catalogue = [
        {
            schema.ITEM_ID: f"i{place}",
            schema.TITLE: f"A {taste} {thing}",
            schema.ITEM_TEXT: f"A {taste} {thing}. For every kitchen",
            schema.ITEM_N_EVENTS: 3,
            schema.ITEM_N_RATINGS: 0,
        }
        for place, (thing, taste) in enumerate(items)
    ]
    write(folder, "catalogue", catalogue)
    write(folder, "reviews", rows)
    return folder


def catalogue_of(training: Path) -> Catalogue:
    return Catalogue.read(training, seed=1)
