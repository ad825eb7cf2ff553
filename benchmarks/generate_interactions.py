"""A shop's log of any size as Parquet, with many kinds of bad rows: the input of the data gate's benchmarks.

Run: `python -m benchmarks.generate_interactions FOLDER --interactions 5000000 --seed 0`
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.harness import options

DIRTY_SHARE = 0.005
OPENS_AT = datetime(2024, 1, 1, tzinfo=UTC)
N_DAYS = 730

_BATCH_ROWS = 250_000
_EVENTS = ("view", "click", "cart", "purchase", "rating")
_EVENT_SHARES = (0.55, 0.20, 0.08, 0.10, 0.07)
_RATING = _EVENTS.index("rating")
_TIME = pa.timestamp("us", tz="UTC")
_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("event", pa.string()),
        pa.field("value", pa.float64()),
        pa.field("timestamp", _TIME),
        pa.field("position", pa.int64()),
    ]
)
_SECTIONS = ("Cheese", "Wine", "Bread", "Olives", "Tea", "Coffee", "Chocolate", "Honey")
_KINDS = ("mild", "sharp", "smoked", "aged", "fresh", "sweet", "dry", "bitter")


def generate(folder: Path, n_interactions: int, seed: int = 0) -> None:
    """Write `interactions.parquet`, `users.parquet` and `items.parquet`; the same seed gives the same rows.

    About one row in 200 is dirty: no user, no item, an id that no table has, an event that the contract does not know,
    a rating without, above or below the scale, not a number or infinite, a time that is missing, in 1800 or in 2999,
    an event id that another row has, a row that comes twice.

    Args:
        folder: Made where it does not exist.
        n_interactions: There is a user for 50 of them and an item for 250, at least 20 each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    n_users, n_items = max(n_interactions // 50, 20), max(n_interactions // 250, 20)
    pq.write_table(_users(n_users), folder / "users.parquet", compression="zstd")
    pq.write_table(_items(n_items, rng), folder / "items.parquet", compression="zstd")
    with pq.ParquetWriter(folder / "interactions.parquet", _SCHEMA, compression="zstd") as file:
        for batch in _interactions(n_interactions, n_users, n_items, rng):
            file.write_table(batch)


def _users(n: int) -> pa.Table:
    numbers = np.arange(n)
    countries = np.array(["IN", "DE", "FR", "US"])[numbers % 4]
    joined = _moments(-(numbers % 1000) * 86_400_000_000)
    return pa.table({"user_id": _ids("u", numbers), "signup_at": joined, "country": pa.array(countries)})


def _items(n: int, rng: np.random.Generator) -> pa.Table:
    numbers = np.arange(n)
    sections = pa.array(np.array(_SECTIONS)[numbers % len(_SECTIONS)])
    kinds = pa.array(np.array(_KINDS)[rng.integers(len(_KINDS), size=n)])
    prices = np.round(rng.lognormal(2.5, 0.7, n), 2)
    prices[rng.random(n) < DIRTY_SHARE] = -1.0
    return pa.table(
        {
            "item_id": _ids("i", numbers),
            "title": pc.binary_join_element_wise(kinds, sections, pc.cast(pa.array(numbers), pa.string()), " "),
            "description": pc.binary_join_element_wise("A", kinds, "kind of", sections, " "),
            "category": pc.binary_join_element_wise(sections, kinds, " > "),
            "brand": _ids("Maker ", numbers % 50),
            "price": pa.array(prices),
            "created_at": _moments(-(numbers % 500) * 86_400_000_000),
        }
    )


def _interactions(n: int, n_users: int, n_items: int, rng: np.random.Generator) -> Iterator[pa.Table]:
    step = N_DAYS * 86_400_000_000 / n  # microseconds from one event to the next
    for begin in range(0, n, _BATCH_ROWS):
        numbers = np.arange(begin, min(begin + _BATCH_ROWS, n))
        size = len(numbers)
        events = rng.choice(len(_EVENTS), size=size, p=_EVENT_SHARES)
        ratings = np.clip(np.round(rng.normal(3.8, 1.1, size)), 1, 5)
        popular = (n_items * rng.random(size) ** 2).astype(np.int64)  # a few items take most events
        clean = pa.table(
            [
                _ids("e", numbers),
                _ids("u", rng.integers(n_users, size=size)),
                _ids("i", popular),
                pa.array(np.array(_EVENTS)[events]),
                pa.array(ratings, mask=events != _RATING),
                _moments((numbers * step).astype(np.int64)),
                pa.array(numbers),
            ],
            schema=_SCHEMA,
        )
        yield _soil(clean, rng)


def _soil(rows: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Break some rows, each in one way; rows that come twice take the place of the ones after them."""
    spoiled = np.flatnonzero(rng.random(len(rows)) < DIRTY_SHARE)
    ways = rng.integers(len(_DIRT) + 1, size=len(spoiled))
    for way, values in enumerate(_DIRT):
        rows = _replace(rows, spoiled[ways == way], values)
    twice = spoiled[ways == len(_DIRT)]
    order = np.arange(len(rows))
    order[np.minimum(twice + 1, len(rows) - 1)] = twice
    return rows.take(pa.array(order))


def _replace(rows: pa.Table, indexes: np.ndarray, values: dict[str, object]) -> pa.Table:
    mask = np.zeros(len(rows), bool)
    mask[indexes] = True
    for name, value in values.items():
        column = rows.schema.get_field_index(name)
        field = rows.schema.field(column)
        broken = pc.if_else(pa.array(mask), pa.scalar(value, field.type), rows[name])
        rows = rows.set_column(column, field, broken)
    return rows


_DIRT: tuple[dict[str, object], ...] = (
    {"user_id": None},
    {"user_id": ""},
    {"user_id": "nobody"},
    {"item_id": None},
    {"item_id": "i-gone"},
    {"event": "wishlist"},
    {"event": None, "value": None, "item_id": ""},
    {"event": "rating", "value": None},
    {"event": "rating", "value": 9.0},
    {"event": "rating", "value": 0.0},
    {"event": "rating", "value": float("nan")},
    {"event": "rating", "value": float("inf")},
    {"timestamp": None},
    {"timestamp": datetime(1800, 1, 1, tzinfo=UTC)},
    {"timestamp": datetime(2999, 1, 1, tzinfo=UTC)},
    {"event_id": "e0"},
)


def _ids(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(numbers), pa.string()), "")


def _moments(microseconds: np.ndarray) -> pa.Array:
    """Times so long after the shop's opening. Shape (n,)."""
    begin = int((OPENS_AT - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    return pa.array(begin + microseconds, pa.int64()).cast(_TIME)


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = options.command(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--interactions", type=int, default=5_000_000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    generate(chosen.folder, chosen.interactions, chosen.seed)
    for path in sorted(chosen.folder.glob("*.parquet")):
        print(f"{path.name}: {pq.read_metadata(path).num_rows:,} rows, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
