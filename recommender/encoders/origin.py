"""Which encoder made vectors: its files, and the arithmetic that it computes in."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict

from core.settings.models import EncoderSettings
from recommender.encoders.encoder import model_source, not_at_hand
from recommender.encoders.language_model import source_digest
from recommender.fitting.device import choose_dtype


class MadeBy(BaseModel):
    """Who made vectors. Equal ones give a text the same vector, so that theirs may stand beside each other.

    Attributes:
        digest: Of the names and bytes of the encoder's files, as they came; of a name in the hub, the commit.
        dtype: Of the arithmetic, as torch calls it: "float32", "bfloat16".
        device: "cpu" or "cuda".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    dtype: str
    device: str


def made_by(settings: EncoderSettings, device: str = "cpu") -> MadeBy:
    """Who makes vectors by these settings here and now; the encoder is not loaded for it.

    Raises:
        EncoderError: it is not at hand.
    """
    dtype, _ = choose_dtype(settings.precision, device)
    name = str(dtype).removeprefix("torch.")
    return MadeBy(digest=encoder_digest(settings), dtype=name, device=torch.device(device).type)


def encoder_digest(settings: EncoderSettings) -> str:
    """Digest of the encoder's files as they are now.

    Raises:
        EncoderError: they are not at hand.
    """
    source = model_source(settings.model)
    try:
        return source_digest(source)
    except OSError as error:
        raise not_at_hand(settings, error) from error
