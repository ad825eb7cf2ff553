"""Causal language models: the embedded one, or any Hugging Face one by name or local folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from core.storage import digest_of, file_digest
from recommender.encoders.embedded_model import (
    EMBEDDED_MODEL,
    LanguageModelError,
    embedded_folder,
    find_converted,
    find_weights,
)
from recommender.encoders.encoder import PACKAGED_MODEL, model_source, names_path
from recommender.fitting.pretrained import MAKING_A_MODEL
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import check_loaded

_SETTLED_S = 2.0  # since its last change, for a file's times to tell the next one
_NOT_READ = frozenset((".gif", ".jpeg", ".jpg", ".lock", ".md", ".pdf", ".png", ".rst", ".svg"))  # by transformers


@dataclass(frozen=True)
class LanguageModel:
    """A pretrained causal language model.

    Attributes:
        model: Of transformers, with a head that scores the next token.
        tokenizer: Its tokenizer; a chat template is the tokenizer's own, if it has one.
        name: As the settings name it: the embedded one, a folder, or a name in the hub.
        digest: Of its files, or the hub's commit: what is fitted onto one model does not fit another.
    """

    model: Any
    tokenizer: Any
    name: str
    digest: str

    @property
    def label(self) -> str:
        """Name and digest, as an error says it; of a folder its last part: where it lies is the machine's business."""
        return f"{Path(self.name).name if names_path(self.name) else self.name}@{self.digest[:12]}"


def load_language_model(
    name: str,
    models: Path | None,
    progress: Progress,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    digest: str = "",
) -> LanguageModel:
    """Load a causal language model and its tokenizer: the one way for every part that needs one.

    No code of a repository is run, whatever it brings.

    Args:
        name: 'smollm2' is the embedded one; else a folder, or a name in the hub.
        models: Where the embedded model is kept once it is converted; others do not need it.
        device: Where it computes.
        dtype: Of its weights.
        digest: Of the one that is wanted: an embedded model of before an upgrade is taken where it still lies in
            `models`. It may come out as another; that is for the caller to see.
    Raises:
        LanguageModelError: it is not at hand and cannot be fetched, or it is no causal language model.
    """
    if name == EMBEDDED_MODEL:
        folder, found = _embedded(models, progress, digest)
        model, tokenizer = read_language_model(str(folder), name, dtype)
    else:
        source = _source(name)
        # Read first: only then is a name of the hub sure to be in its cache.
        model, tokenizer = read_language_model(source, name, dtype)
        found = source_digest(source)
    return LanguageModel(model.to(device), tokenizer, name, found)


def read_language_model(source: str, name: str, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """A causal language model and its tokenizer, as transformers finds them.

    Args:
        source: A folder, or a name in the hub.
        name: As an error says it.
    Raises:
        LanguageModelError: they are not there, or are none.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    # Progress goes where the caller wants it, and not over the terminal of a flow.
    disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        with MAKING_A_MODEL:
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
        check_loaded(source, model.state_dict())
    except (OSError, ValueError) as error:
        raise _not_at_hand(name, next(iter(str(error).splitlines()), type(error).__name__)) from error
    return model.eval(), tokenizer


def read_outline(name: str) -> tuple[Any, Any] | None:
    """Configuration and tokenizer of a causal language model, without its weights: whether it is at hand, before hours
    are spent on what comes before it. None of the embedded one, which has a chat template and
    sees more than any setting allows.

    Raises:
        LanguageModelError: they are not there, or are none.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoTokenizer

    if name == EMBEDDED_MODEL:
        find_weights()
        return None
    source = _source(name)
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
            raise ValueError(f"model_type={config.model_type} is none")
        return config, AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _not_at_hand(name, next(iter(str(error).splitlines()), type(error).__name__)) from error


def language_model_digest(name: str) -> str:
    """Digest of what a name stands for on this machine, without loading it: of the embedded weights, or of the files of
    a folder or of the packaged text encoder; of a name in the hub the commit that would be loaded. Empty for a folder
    that does not exist, a name that is not at hand, and without the embedded weights.
    """
    if name == EMBEDDED_MODEL:
        try:
            return find_weights().digest
        except LanguageModelError:
            return ""  # for whoever loads it to say
    source = model_source(name) if name == PACKAGED_MODEL else str(Path(name).expanduser())
    if names_path(source) and not Path(source).is_dir():
        return ""
    try:
        return source_digest(source)
    except (OSError, ValueError):
        return ""


def folder_digest(folder: Path) -> str:
    """Digest of the names and bytes of a folder's files: 16 hexadecimal digits. Hidden ones, and descriptions and
    pictures, which decide nothing, may change.

    Files are read once by a process as long as nothing in the folder changes.
    """
    folder = folder.resolve()
    files = sorted(path for path in folder.rglob("*") if _decides(path.relative_to(folder)) and path.is_file())
    changes = tuple(_Change.of(file, folder) for file in files)
    # What changes twice within a tick of the file system's clock looks the same both times.
    if any(time.time() - one.seconds < _SETTLED_S for one in changes):
        return _read_digest(folder, changes)
    return _digest_once(folder, changes)


def _decides(file: Path) -> bool:
    return not (any(part.startswith(".") for part in file.parts) or file.suffix.lower() in _NOT_READ)


def source_digest(source: str) -> str:
    """Digest of a folder's files; of a name in the hub the commit that lies in its cache.

    Raises:
        OSError: the hub has to be asked, and cannot be.
    """
    if Path(source).is_dir():
        return folder_digest(Path(source))
    from transformers.utils import cached_file

    # The hub's cache keeps a model's files in a folder that has the commit's name.
    return Path(cached_file(source, "config.json")).parent.name


class _Change(NamedTuple):
    """When a file of a folder was changed last, as far as the file system says it."""

    name: str
    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, file: Path, folder: Path) -> _Change:
        stat = file.stat()
        return cls(str(file.relative_to(folder)), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)

    @property
    def seconds(self) -> float:
        return self.changed_ns / 1e9


def _read_digest(folder: Path, changes: tuple[_Change, ...]) -> str:
    return digest_of([(one.name, file_digest(folder / one.name)) for one in changes])


_digest_once = lru_cache(maxsize=8)(_read_digest)


def _embedded(models: Path | None, progress: Progress, digest: str) -> tuple[Path, str]:
    if models is None:
        raise LanguageModelError(
            "Cannot load the embedded language model",
            got="models=None",
            expected="the folder where converted models are kept",
            do="Pass Layout.language_models",
        )
    earlier = find_converted(models, digest) if digest else None
    if earlier is not None:
        return earlier, digest
    return embedded_folder(models, progress), find_weights().digest


def _source(name: str) -> str:
    """A folder where there is one. A path has to exist, so that a slip of the pen is not looked up in the hub."""
    path = Path(name).expanduser()
    if path.is_dir():
        return str(path)
    if names_path(name):
        raise _not_at_hand(name, "there is no such folder")
    return name


def _not_at_hand(name: str, reason: str) -> LanguageModelError:
    return LanguageModelError(
        "Cannot load language model",
        got=f"model={name}",
        expected=f"'{EMBEDDED_MODEL}', or a folder or name of a Hugging Face causal language model that is at hand, "
        f"but {reason.rstrip('.')}",
        do="Give a local folder in recipe.writer.model, or let the hub be reached (HF_HUB_OFFLINE=0)",
    )
