"""Training data made more varied: sequences cropped, masked and reordered, prompts perturbed, cold items repeated.

Only the training loops hold an augmenter, and it only ever gets the rows of the training split, so no validation or
test row can pass through it. Everything is off by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from core.settings.models import AugmentationSettings
from recommender.inputs.ids import PADDING
from recommender.inputs.sequences import TrainingSequence

# A sequence that is shorter teaches nothing: its first item is read, the second is the target.
MIN_LENGTH = 2
AS_THEY_ARE = AugmentationSettings()

_Change = Callable[[TrainingSequence], TrainingSequence]


class Augmenter:
    """Changes the training rows of one run, differently in each epoch; the same seed gives the same changes.

    Source: crop, mask and reorder are those of Xie et al. 2022 (CL4SRec), section 4.2; where they put a mask token, the
    item is left out here, since the model that is served knows no such token.
    """

    def __init__(self, settings: AugmentationSettings, seed: int) -> None:
        self._settings = settings
        self._random = np.random.default_rng([seed, 1])

    @property
    def state(self) -> Mapping[str, Any]:
        """Of the generator: set to what it was, the same changes come again."""
        return self._random.bit_generator.state

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        self._random.bit_generator.state = state

    def sequences(self, sequences: list[TrainingSequence]) -> list[TrainingSequence]:
        """The sequences of one epoch.

        Args:
            sequences: Each at least two long, the last item a target.
        Returns:
            Those with cold items repeated; of all of them, some changed. Each at least two long, the last one a target.
        """
        settings = self._settings
        drawn = [sequences[place] for place in self._oversampled(_rarest(sequences))]
        changes: list[tuple[float, _Change]] = [
            (settings.crop, self._crop),
            (settings.mask, self._mask),
            (settings.reorder, self._reorder),
        ]
        for share, change in changes:
            if share:
                drawn = [change(row) if self._random.random() < share else row for row in drawn]
        return drawn

    def pairs(self, item_ids: Sequence[str]) -> np.ndarray:
        """Places of the rated pairs to learn from: all of them, those on cold items repeated.

        Args:
            item_ids: The item of each training pair.
        Returns:
            Shape (N',), int64, N' >= N; in order where nothing is repeated.
        """
        _, place, counts = np.unique(np.asarray(item_ids), return_inverse=True, return_counts=True)
        return self._oversampled(counts[place])

    def text(self, text: str) -> str:
        """A prompt in which some words are left out, doubled, swapped with the next one, or misspelt."""
        share = self._settings.perturb_words
        if not share:
            return text
        lines = [self._perturb_line(line.split(" "), share) for line in text.split("\n")]
        return "\n".join(" ".join(words) for words in lines)

    def _perturb_line(self, words: list[str], share: float) -> list[str]:
        kept: list[str] = []
        held: str | None = None  # a word that waits to stand behind the next one
        for word in words:
            change = int(self._random.integers(4)) if self._random.random() < share else -1
            if change == 0 and len(words) > 1:
                continue
            if change == 1:
                kept.append(word)
            if change == 2 and held is None:
                held = word
                continue
            kept.append(self._misspell(word) if change == 3 else word)
            if held is not None:
                kept.append(held)
                held = None
        return kept if held is None else [*kept, held]

    def _misspell(self, word: str) -> str:
        """Swap two neighbouring letters inside the word."""
        if len(word) < 4:
            return word
        place = int(self._random.integers(1, len(word) - 2))
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]

    def _oversampled(self, counts: np.ndarray) -> np.ndarray:
        """Every place once, and those whose item has few events `cold_oversampling` times on average."""
        more = np.where(counts < self._settings.cold_below, self._settings.cold_oversampling, 1.0)
        whole = np.floor(more).astype(np.int64)
        drawn = self._random.random(len(more)) < more - whole
        return np.repeat(np.arange(len(more)), whole + drawn)

    def _crop(self, row: TrainingSequence) -> TrainingSequence:
        """A stretch of the sequence; the whole where it would hold no target."""
        length = self._part(len(row))
        start = int(self._random.integers(len(row) - length + 1))
        cropped = row.stretch(start, start + length)
        return cropped if cropped.first_target < length else row

    def _mask(self, row: TrainingSequence) -> TrainingSequence:
        """The sequence without some of its items; the whole where no target would be left."""
        left_out = min(round(len(row) * self._settings.strength), len(row) - MIN_LENGTH)
        kept = np.sort(self._random.choice(len(row), len(row) - left_out, replace=False))
        masked = TrainingSequence(row.items[torch.from_numpy(kept)], int(np.searchsorted(kept, row.n_context)))
        return masked if masked.first_target < len(masked) else row

    def _reorder(self, row: TrainingSequence) -> TrainingSequence:
        """The sequence with a stretch of its context, or of its targets, shuffled: no item changes sides."""
        begin, end = row.n_context, len(row)
        if begin and self._random.random() * end < begin:
            begin, end = 0, begin
        length = min(round(len(row) * self._settings.strength), end - begin)
        start = begin + int(self._random.integers(end - begin - length + 1))
        changed = row.items.clone()
        changed[start : start + length] = row.items[start : start + length][
            torch.from_numpy(self._random.permutation(length))
        ]
        return TrainingSequence(changed, row.n_context)

    def _part(self, length: int) -> int:
        return max(MIN_LENGTH, round(length * (1 - self._settings.strength)))


def _rarest(sequences: list[TrainingSequence]) -> np.ndarray:
    """Per sequence, how many users the rarest of its targets has among all of them. Shape (N,), int64."""
    counts = torch.bincount(torch.cat([sequence.targets for sequence in sequences]))
    counts[PADDING] = torch.iinfo(counts.dtype).max
    return np.array([int(counts[sequence.targets].min()) for sequence in sequences])
