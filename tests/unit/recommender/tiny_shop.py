"""A training set small enough to read, made as the contract has it, and a text encoder of random weights."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core import schema
from core.settings.models import SequenceSettings
from recommender.bundle.data_range import DataRange
from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors

N_ITEMS = 24
QUICK = SequenceSettings(width=16, n_blocks=1, n_heads=2, batch_size=16, max_epochs=4, patience=2, n_negatives=6)
DATA = DataRange(
    fingerprint="f",
    first_event_at="2026-01-01T00:00:00+00:00",
    last_event_at="2026-06-30T00:00:00+00:00",
    validation_at="2026-05-01T00:00:00+00:00",
    test_at="2026-06-01T00:00:00+00:00",
    rows={"sequences": 40},
)


def item(number: int) -> str:
    return f"i{number % N_ITEMS:02d}"


def write_training_set(folder: Path, n_users: int = 40, seed: int = 3) -> Path:
    """Users walk round the catalogue, item after item, so that the next item can be learned; the last one is new."""
    generator = np.random.default_rng(seed)
    starts, lengths = generator.integers(0, N_ITEMS - 1, n_users), generator.integers(3, 8, n_users)
    walks = [[item(start + step) for step in range(length)] for start, length in zip(starts, lengths, strict=True)]
    counts = dict.fromkeys((item(number) for number in range(N_ITEMS)), 0)
    for walk in walks:
        for name in walk:
            counts[name] += 1
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, "catalogue", [catalogue_row(name, count) for name, count in counts.items()])
    write(folder, "sequences", [{"user_id": f"u{n}", **history(walk)} for n, walk in enumerate(walks)])
    rows = []
    for n, (walk, start, length) in enumerate(zip(walks, starts, lengths, strict=True)):
        following = [item(start + length), item(start + length + 1)]
        rows.append({"user_id": f"u{n}", "split": "validation", **history(walk), "targets": following[:1]})
        rows.append({"user_id": f"u{n}", "split": "test", **history([*walk, following[0]]), "targets": following[1:]})
    rows.append({"user_id": "new", "split": "test", **history([]), "targets": [item(0)]})
    write(folder, "queries", rows)
    return folder


def catalogue_row(name: str, count: int) -> dict[str, Any]:
    return {
        "item_id": name,
        "title": f"Tea {name}",
        "item_text": f"Tea {name}. Tin",
        "item_n_events": count,
        "item_n_ratings": 0,
    }


def history(items: list[str]) -> dict[str, Any]:
    return {"history_items": items, "history_values": [None] * len(items)}


def write(folder: Path, table: str, rows: list[Mapping[str, Any]]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema.TRAINING_TABLES[table]), folder / f"{table}.parquet")


def random_vectors(training: Path, width: int = 8, seed: int = 5) -> ItemVectors:
    """Item vectors as an encoder could have made them."""
    catalogue = Catalogue.read(training, seed)
    rows = np.random.default_rng(seed).normal(size=(len(catalogue), width))
    return ItemVectors.from_rows(catalogue, rows / np.linalg.norm(rows, axis=1, keepdims=True))


def save_random_vectors(training: Path, folder: Path) -> Path:
    """The item vectors of a training set as a component's files."""
    folder.mkdir(parents=True)
    vectors = random_vectors(training)
    vectors.save(folder)
    not_whitened(vectors.text.shape[1]).save(folder / WHITENING_FILE)
    return folder


def not_whitened(width: int) -> Whitening:
    """A whitening that leaves vectors as they are."""
    return Whitening(np.zeros(width, dtype=np.float32), np.eye(width, dtype=np.float32))


def catalogue_of(rows: Iterable[Mapping[str, Any]], seed: int = 1) -> Catalogue:
    """A catalogue of these rows."""
    return Catalogue.from_table(pa.Table.from_pylist(list(rows), schema=schema.TRAINING_TABLES["catalogue"]), seed)


def save_tiny_encoder(folder: Path) -> Path:
    """A BERT of one layer with random weights and a vocabulary of letters, in the format of a model folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789."]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        BertModel(config).save_pretrained(folder)
    return folder


def move_weights(folder: Path, by: float) -> None:
    """Change every weight of an encoder's folder by up to this share of itself, as another training of it would."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder)
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + by * (2 * torch.rand(weight.shape, generator=drawn) - 1))
    model.save_pretrained(folder)
