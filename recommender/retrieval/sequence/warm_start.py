"""A sequence model that starts from the weights of a bundle: items by their ids, new ones by what is known of them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from recommender.encoders.whitening import WHITENING_FILE, Whitening
from recommender.errors import BundleError
from recommender.fitting.warm_start import WarmStart
from recommender.inputs.ids import PADDING, IdMap
from recommender.inputs.item_vectors import ItemVectors
from recommender.retrieval.sequence.model import SequenceModel, load_sequence_model

DO = "Train in full: run the pipeline, or set recipe.warm_start.enabled=false"
_IDS = "id_vectors"
# What is of this fit, and not of the weights.
_OWN = ("learned",)


def start_from(start: WarmStart, model: SequenceModel, vectors: ItemVectors) -> None:
    """Give a new model the weights of the one in a bundle, in place.

    An item that the bundle's model had learned keeps its id vector. One that it had not begins without: its projected
    text alone carries it, which is how that model ranked it as a cold item. One without a text begins at the mean of
    the learned id vectors: at zero it would be expected by nobody and expect nothing.

    Args:
        vectors: Of the new catalogue.
    Raises:
        BundleError: the bundle's model cannot be read, or is of another shape.
    """
    parent_vectors = ItemVectors.load(start.bundle / "vectors")
    loaded = load_sequence_model(start.bundle / "sequence", parent_vectors)
    if start.member >= len(loaded.members):
        raise _refused(start, f"n_seeds={len(loaded.members)}", f"at least {start.member + 1}")
    parent = loaded.members[start.member]
    ours, theirs = ({**asdict(one.shape), "n_items": 0} for one in (model, parent))
    if ours != theirs:
        differing = [name for name in ours if ours[name] != theirs[name]]
        got, expected = (", ".join(f"{name}={of[name]}" for name in differing) for of in (theirs, ours))
        raise _refused(start, got, expected)
    rows = rows_of(vectors.ids, parent_vectors.ids)
    state = {name: tensor for name, tensor in parent.state_dict().items() if name not in (*_OWN, _IDS)}
    model.load_state_dict(state, strict=False)
    if model.shape.use_ids:
        with torch.no_grad():
            model.id_vectors.copy_(_id_vectors(parent, rows, model.text.cpu()))


def rows_of(ids: IdMap, parent: IdMap) -> torch.Tensor:
    """Where each item stands in another catalogue; PADDING where it is not there. Shape (n_items + 1,), int64."""
    return torch.tensor([PADDING, *(parent.index(item) if item in parent else PADDING for item in ids)])


def check_space(start: WarmStart, vectors: Path) -> None:
    """Make sure that text vectors are whitened as those of the bundle: its weights mean nothing on others.

    Args:
        vectors: The `vectors` component that the model reads.
    Raises:
        BundleError: they are not, or cannot be read.
    """
    ours, theirs = (Whitening.load(place / WHITENING_FILE) for place in (vectors, start.bundle / "vectors"))
    if not (np.array_equal(ours.mean, theirs.mean) and np.array_equal(ours.projection, theirs.projection)):
        raise _refused(start, f"vectors={vectors}", "vectors that are whitened as those of the bundle")


def _id_vectors(parent: SequenceModel, rows: torch.Tensor, content: torch.Tensor) -> torch.Tensor:
    """Shape (n_items + 1, width)."""
    known = parent.learned[rows]
    learned = parent.id_vectors.detach()[parent.learned]
    mean = learned.mean(dim=0) if len(learned) else torch.zeros(parent.shape.width)
    has_content = content.any(dim=1, keepdim=True)
    begun = torch.where(has_content, torch.zeros(()), mean)
    return torch.where(known.unsqueeze(1), parent.id_vectors.detach()[rows], begun)


def _refused(start: WarmStart, got: str, expected: str) -> BundleError:
    return BundleError(
        "Cannot start from the weights of a bundle", got=got, expected=expected, where=str(start.bundle), do=DO
    )
