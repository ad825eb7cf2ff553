"""Runs of words that a writer must not copy from one training text, and what becomes of a text that has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.metrics.texts import COPIED_LENGTH, ngrams, sentences, words

RUNS_FILE = "runs.safetensors"
RUNS = "runs"
# Of a text's runs of eight words, the share that may stand in a training text.
MAX_COPIED_SHARE = 0.05
# A run that so many training texts share is how people talk, and copied from none of them.
COMMON_FROM = 3


class TrainingRuns:
    """The runs of eight words of the texts that a writer was shown, but for those that many of them share.

    Args:
        hashes: 64 bits of each run, sorted. Shape (n,), uint64.
    """

    def __init__(self, hashes: np.ndarray) -> None:
        self._hashes = hashes

    def __len__(self) -> int:
        return len(self._hashes)

    @classmethod
    def of(cls, texts: Iterable[str]) -> TrainingRuns:
        """The runs of texts; one that is there several times counts as one text."""
        counts = Counter(one for text in set(texts) for one in set(_hashes(text)))
        rare = [one for one, count in counts.items() if count < COMMON_FROM]
        return cls(np.sort(np.array(rare, dtype=np.uint64)))

    def copied_share(self, text: str) -> float:
        """Share of a text's runs (repeats kept) that are among these; 0 where it has fewer than eight words."""
        found = np.array(_hashes(text), dtype=np.uint64)
        if not len(found) or not len(self):
            return 0.0
        places = np.searchsorted(self._hashes, found).clip(max=len(self) - 1)
        return float((self._hashes[places] == found).mean())

    def holds_too_much(self, text: str) -> bool:
        """Whether more of a text is copied than may be."""
        return self.copied_share(text) > MAX_COPIED_SHARE

    def without_copies(self, text: str) -> str:
        """The text without the sentences that make it copied; of one that is nothing else its first seven words."""
        kept = ""
        for sentence in sentences(text):
            longer = f"{kept} {sentence}".strip()
            if not self.holds_too_much(longer):
                kept = longer
        return kept or " ".join(text.split()[: COPIED_LENGTH - 1]).rstrip(" ,;:-–.!?") + "."

    def save(self, folder: Path) -> None:
        """Write the hashes into a folder that exists: no word can be read from them."""
        save_tensors(folder / RUNS_FILE, {RUNS: torch.from_numpy(self._hashes.view(np.int64))})

    @classmethod
    def load(cls, folder: Path) -> TrainingRuns:
        """Read what `save` wrote.

        Raises:
            OSError, ValueError: the file is missing or damaged.
        """
        return cls(read_tensors(folder / RUNS_FILE, RUNS)[RUNS].numpy().view(np.uint64))


def _hashes(text: str) -> list[int]:
    runs = ngrams(words(text), COPIED_LENGTH)
    return [int.from_bytes(blake2b(" ".join(run).encode(), digest_size=8).digest(), "big") for run in runs]
