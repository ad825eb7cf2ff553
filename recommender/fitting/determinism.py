"""One seed for every generator and a fixed number of threads, so that equal inputs give equal bits."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.utils.deterministic


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
