"""Where a long fit stands after an epoch, so that a killed one goes on from there and ends with the same bits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from core.storage import atomic_folder, digest_of, remove_folder, write_json
from recommender.errors import BundleError, NotFinite
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import read_tensors, save_tensors

TENSORS_FILE = "state.safetensors"
NOTES_FILE = "state.json"
RANDOM = "torch_random_state"
RANDOM_ON_GPU = "torch_random_state_of_the_gpu"


class Checkpoint:
    """One fit's state on disk, beside the component that the fit is to write.

    Args:
        target: The component's folder; the checkpoint lies beside it.
        inputs: Whatever decides the fit, JSON-able: a checkpoint of other inputs is not taken up.
    """

    def __init__(self, target: Path, *inputs: Any) -> None:
        self.folder = _folder(target)
        self._key = digest_of(torch.__version__, *inputs)

    def save(self, tensors: dict[str, torch.Tensor], notes: dict[str, Any]) -> None:
        """Replace what was kept, atomically; torch's random state goes with it."""
        with atomic_folder(self.folder) as folder:
            random = {RANDOM: torch.get_rng_state()}
            if torch.cuda.is_initialized():
                random[RANDOM_ON_GPU] = torch.cuda.get_rng_state()
            save_tensors(folder / TENSORS_FILE, {**tensors, **random})
            write_json(folder / NOTES_FILE, {"key": self._key, "notes": notes})

    def load(self, progress: Progress) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """What was kept last, and torch's random state put back; None where nothing of these inputs was kept."""
        try:
            record = json.loads((self.folder / NOTES_FILE).read_text(encoding="utf-8"))
            tensors = read_tensors(self.folder / TENSORS_FILE, RANDOM)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            progress(f"checkpoint {self.folder} cannot be read ({error}): starting from the first epoch")
            return None
        if record["key"] != self._key:
            return None
        torch.set_rng_state(tensors.pop(RANDOM))
        on_gpu = tensors.pop(RANDOM_ON_GPU, None)
        if on_gpu is not None:
            torch.cuda.set_rng_state(on_gpu)
        return tensors, record["notes"]

    def clear(self) -> None:
        """The fit is done: nothing is left to go on from."""
        remove_folder(self.folder)


@contextmanager
def forgotten_with_what_is_broken(target: Path) -> Iterator[None]:
    """A fit whose checkpoint goes where what it learned cannot be measured or saved: gone on from, it would fail again.

    Args:
        target: The component's folder.
    """
    try:
        yield
    except (NotFinite, BundleError):
        remove_folder(_folder(target))
        raise


def _folder(target: Path) -> Path:
    return target.parent / f"{target.name}.checkpoint"
