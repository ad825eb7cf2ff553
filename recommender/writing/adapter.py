"""What fine-tuning added to a pretrained language model: all that a bundle holds of such a writer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender.encoders.adapters import Adapted, AdapterShape
from recommender.encoders.embedded_model import LanguageModelError
from recommender.encoders.language_model import LanguageModel, load_language_model
from recommender.errors import BundleError
from recommender.fitting.device import choose_large_dtype
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import read_tensors, save_tensors

WEIGHTS_FILE = "adapter.safetensors"
ADAPTER = "adapter"


@dataclass(frozen=True)
class Adapter:
    """Additions to a base model.

    Attributes:
        base: Name of the base model, as the settings have it.
        digest: Of the base model: additions to one do not fit another.
        adapted: The base model with the additions.
    """

    base: str
    digest: str
    adapted: Adapted

    @classmethod
    def new(cls, language: LanguageModel, trained_layers: int, rank: int) -> Adapter:
        """Additions that change nothing yet.

        Raises:
            LanguageModelError: the model has no list of layers.
        """
        shape = AdapterShape.of(language.model, trained_layers, rank)
        return cls(language.name, language.digest, Adapted(language.model, shape))

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the additions into a folder that exists; returns what `load_adapted` has to be given beside it.

        Raises:
            BundleError: a weight is NaN or infinite.
        """
        save_tensors(folder / WEIGHTS_FILE, self.adapted.weights())
        shape = self.adapted.shape
        return {"base": self.base, "digest": self.digest, "layers": shape.layers, "rank": shape.rank}


def load_adapted(
    folder: Path, said: dict[str, Any], models: Path | None, progress: Progress, device: str
) -> tuple[Any, Any]:
    """The base model with the additions in its weights, and its tokenizer.

    Args:
        said: What `Adapter.save` returned.
        models: Where converted models are kept.
    Raises:
        BundleError: the base model is not at hand, or is another one.
        ValueError: the additions are of another shape.
    """
    base, digest = str(said["base"]), str(said["digest"])
    try:
        language = load_language_model(base, models, progress, digest=digest)
    except LanguageModelError as error:
        raise BundleError(
            "Cannot load feedback writer", got=error.got, expected=error.expected, where=str(folder), do=error.do
        ) from error
    if language.digest != digest:
        raise BundleError(
            "Cannot load feedback writer",
            got=f"model={language.label}",
            expected=f"the one that it was fine-tuned from, {digest[:12]}",
            where=str(folder),
            do="Put that model back, or fit the writer again: make run",
        )
    adapted = Adapted(language.model, AdapterShape(int(said["layers"]), int(said["rank"])))
    adapted.load(read_tensors(folder / WEIGHTS_FILE))
    dtype = choose_large_dtype("auto", device)[0]
    return adapted.merged().to(device, dtype).eval(), language.tokenizer
