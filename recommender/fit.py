"""What every fit has in common: one seed for every generator, a fixed number of threads, a summary at the end."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic
from pydantic import BaseModel, ConfigDict

from recommender.bundle import SUMMARY
from recommender.storage import write_json

Progress = Callable[[str], None]


class FitSummary(BaseModel):
    """What a fit says of itself.

    Attributes:
        folder: Where the component lies.
        epochs: Epochs that were run.
        best_epoch: The one that was kept, from 1.
        metrics: On the validation window, e.g. `{"ndcg_at_10": 0.05}`.
        seconds: Wall time of the fit.
        curve: What each epoch came to, e.g. `{"epoch": 1, "loss": 5.1, "ndcg": 0.04}`; empty where there are no epochs.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path
    epochs: int
    best_epoch: int
    metrics: dict[str, float]
    seconds: float
    curve: tuple[dict[str, float], ...] = ()

    def write(self, folder: Path) -> None:
        """Leave the summary beside the weights; it is no part of a bundle's digest."""
        write_json(folder / SUMMARY, self.model_dump(mode="json", exclude={"folder"}))


@contextmanager
def deterministic(seed: int, threads: int | None = None) -> Iterator[None]:
    """Within the block, one seed and one number of threads give bitwise equal results; both are put back after it.

    Args:
        seed: Seeds Python's, numpy's and torch's global generators.
        threads: Torch's threads in the process; None leaves them as they are.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    was_deterministic, threads_before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    # Torch would fill every new tensor first, to show who reads what nobody wrote: nobody does, and it costs a tenth.
    deterministic_module: Any = torch.utils.deterministic  # its one setting has no type
    filled = deterministic_module.fill_uninitialized_memory
    deterministic_module.fill_uninitialized_memory = False
    with torch.random.fork_rng():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        if threads is not None:
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_deterministic)
            deterministic_module.fill_uninitialized_memory = filled
            torch.set_num_threads(threads_before)
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def read_config(path: Path) -> dict[str, Any]:
    """Read the JSON settings that a component was saved with.

    Raises:
        BundleError: the file is missing or not JSON.
    """
    from recommender.errors import BundleError

    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(
            "Cannot load component", got=f"file={path}", expected=f"readable JSON, but {error}", do="Fit it again"
        ) from error
    return config
