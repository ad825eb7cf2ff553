"""Runs of words that a writer must not copy from one reviewer, and what becomes of a text that has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch

from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.metrics.texts import before_a_run, pieces, runs
from recommender.writing.examples import WritingExample

RUNS_FILE = "runs.safetensors"
RUNS = "runs"
# Of a text's runs of eight words, the share that may stand in a training text.
MAX_COPIED_SHARE = 0.05
# A run that so many reviewers share is how people talk, and copied from none of them.
COMMON_FROM = 3


class TrainingRuns:
    """The runs of eight words of the texts that a writer was shown, but for those that several reviewers share.

    Where a script puts no space between words, two characters count as one.

    Args:
        hashes: 64 bits of each run, sorted. Shape (n,), uint64.
    """

    def __init__(self, hashes: np.ndarray) -> None:
        self._hashes = hashes

    def __len__(self) -> int:
        return len(self._hashes)

    @classmethod
    def of(cls, reviews: Iterable[WritingExample]) -> TrainingRuns:
        """The runs of reviews; a text that is there several times is one reviewer's, as are all texts of a reviewer."""
        runs, n_reviewers = _count_reviewers(reviews)
        return cls(runs[n_reviewers < COMMON_FROM])

    @classmethod
    def if_telling(cls, reviews: Iterable[WritingExample]) -> TrainingRuns | None:
        """The same; None where reviewers themselves have more runs of one or two others than may be: so few ways of
        saying things tell no copy.
        """
        runs, n_reviewers = _count_reviewers(reviews)
        n_of_few_others = n_reviewers[(n_reviewers > 1) & (n_reviewers <= COMMON_FROM)].sum()
        if n_of_few_others > MAX_COPIED_SHARE * n_reviewers.sum():
            return None
        return cls(runs[n_reviewers < COMMON_FROM])

    @property
    def n_bytes(self) -> int:
        """What they take of memory and of the disk."""
        return self._hashes.nbytes

    def copied_share(self, text: str) -> float:
        """Share of a text's runs (repeats kept) that are among these; 0 where it has fewer than eight words."""
        found = _hashes(text)
        if not len(found) or not len(self):
            return 0.0
        places = np.searchsorted(self._hashes, found).clip(max=len(self) - 1)
        return float((self._hashes[places] == found).mean())

    def holds_too_much(self, text: str) -> bool:
        """Whether more of a text is copied than may be."""
        return self.copied_share(text) > MAX_COPIED_SHARE

    def without_copies(self, text: str) -> str:
        """The text without the sentences that make it copied; of one that is nothing else what comes before a run."""
        kept = ""
        for piece in pieces(text):
            longer = (kept + piece).lstrip()
            if not self.holds_too_much(longer):
                kept = longer
        return kept or before_a_run(text).rstrip(" ,;:-–.!?，、；：。！？") + "."

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


def _count_reviewers(reviews: Iterable[WritingExample]) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of all runs, sorted, and how many reviewers have each. Shapes (n,), uint64 and int64."""
    wrote = {review.text: review.user_id for review in reviews}
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for text, user_id in wrote.items():
        texts[user_id].append(text)
    said = [np.unique(np.concatenate([_hashes(text) for text in own])) for own in texts.values()]
    return np.unique(np.concatenate([_hashes(""), *said]), return_counts=True)


def _hashes(text: str) -> np.ndarray:
    """64 bits of each run of a text, in order. Shape (n,), uint64."""
    digests = [blake2b(" ".join(run).encode(), digest_size=8).digest() for run in runs(text)]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
