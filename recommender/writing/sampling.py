"""How the feedback writer draws its words: top-p sampling with generators of its own, one per text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.storage import digest_of
from recommender.encoders.next_token import NOTHING
from recommender.fitting.finiteness import finite_scores

MIN_NEW_TOKENS = 6
NO_REPEAT_LENGTH = 4
_MOST_OFTEN_ENOUGH = 256
_STARTS_WITH_LETTER = re.compile(r"\s?[^\W\d_]")


def sampling_seed(seed: int, prompt: str) -> int:
    """The seed of one text's generator: of the caller's seed and the prompt, whatever else is in the batch."""
    return int(digest_of(seed, prompt), 16) & (2**63 - 1)


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """What a tokenizer reads as no text but as a sign to the model: also those that have no role by name."""
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return named | {number: str(one) for number, one in tokenizer.added_tokens_decoder.items() if one.special}


@dataclass(frozen=True)
class TextSampler:
    """What a tokenizer's tokens are good for.

    Attributes:
        end: The end-of-text token.
        never: True for tokens that no text holds: special ones, and scores beyond the vocabulary. Shape (V,).
        no_start: True for tokens that cannot be a text's first: those that do not begin with a letter. Shape (V,).
    """

    end: int
    never: Tensor
    no_start: Tensor

    @classmethod
    def of(cls, tokenizer: Any, n_scores: int) -> TextSampler:
        """Look at every token once.

        Args:
            n_scores: Width of the model's scores, which may be larger than the vocabulary.
        """
        end, known = int(tokenizer.eos_token_id), min(len(tokenizer), n_scores)
        never = torch.zeros(n_scores, dtype=torch.bool)
        never[known:] = True
        never[[token for token in control_tokens(tokenizer) if token != end and token < n_scores]] = True
        pieces = tokenizer.batch_decode([[token] for token in range(known)])
        no_start = never.clone()
        no_start[[token for token, piece in enumerate(pieces) if not _STARTS_WITH_LETTER.match(piece)]] = True
        no_start[end] = True
        return cls(end, never, no_start if not no_start.all() else never)

    def start(self, seeds: Sequence[int], rooms: Sequence[int], temperature: float, top_p: float) -> Sampling:
        """Begin to write a batch of texts, one per seed, each of so many tokens at most."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return Sampling(self, generators, rooms, temperature, top_p)


class Sampling:
    """One batch of texts in the making.

    Args:
        generators: One a text. They draw on the CPU wherever the model computes: the same seed draws the same numbers.
        rooms: Tokens of each text at most.
        temperature: 0 takes the likeliest token always.
    """

    def __init__(
        self,
        sampler: TextSampler,
        generators: Sequence[torch.Generator],
        rooms: Sequence[int],
        temperature: float,
        top_p: float,
    ) -> None:
        self._sampler, self._generators, self._rooms = sampler, generators, rooms
        self._temperature, self._top_p = temperature, top_p
        self.written: list[list[int]] = [[] for _ in generators]
        self._followers: list[dict[tuple[int, ...], list[int]]] = [defaultdict(list) for _ in generators]

    @property
    def ended(self) -> list[bool]:
        """Which texts have an end-of-text token, or no room for more; nothing follows then."""
        return [self._is_over(text) for text in range(len(self.written))]

    def choose(self, scores: Tensor) -> Tensor:
        """Write the next token of each text.

        Args:
            scores: Of the next token. Shape (B, V).
        Returns:
            The tokens; NOTHING of a text that was over before. Shape (B,), int64.
        Raises:
            NotFinite: a score is NaN or +inf.
        """
        scores = scores.float().cpu()
        finite_scores("feedback writer", scores.numpy(), masked=True)
        return torch.tensor([self._next(text, row) for text, row in enumerate(scores)])

    def _next(self, text: int, scores: Tensor) -> int:
        written = self.written[text]
        if self._is_over(text):
            return NOTHING
        scores = scores.masked_fill(self._forbidden(text), -torch.inf)
        if self._temperature == 0:
            token = int(scores.argmax())
        else:
            likely, places = likeliest(scores / self._temperature, self._top_p)
            drawn = torch.multinomial(likely.softmax(dim=-1), 1, generator=self._generators[text])
            token = int(places[drawn])
        written.append(token)
        if len(written) >= NO_REPEAT_LENGTH:
            *run, last = written[-NO_REPEAT_LENGTH:]
            self._followers[text][tuple(run)].append(last)
        return token

    def _is_over(self, text: int) -> bool:
        written = self.written[text]
        return written[-1:] == [self._sampler.end] or len(written) >= self._rooms[text]

    def _forbidden(self, text: int) -> Tensor:
        """Tokens that may not come next. Shape (V,)."""
        written = self.written[text]
        forbidden = (self._sampler.never if written else self._sampler.no_start).clone()
        forbidden[self._followers[text].get(tuple(written[1 - NO_REPEAT_LENGTH :]), [])] = True
        forbidden[self._sampler.end] = len(written) < MIN_NEW_TOKENS
        return forbidden


def likeliest(scores: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The fewest tokens that together have at least the probability `top_p`: scores, likeliest first, and places.

    Args:
        scores: Of one text's next token. Shape (V,).
    Source: Holtzman et al. 2020, The Curious Case of Neural Text Degeneration.
    """
    total = scores.logsumexp(dim=-1)
    # All of them are sorted only where a few do not reach it: that takes thirty times as long.
    for n_looked_at in (min(_MOST_OFTEN_ENOUGH, len(scores)), len(scores)):
        ordered, places = scores.topk(n_looked_at)
        probabilities = (ordered - total).exp()
        up_to = probabilities.cumsum(dim=-1)
        if up_to[-1] >= top_p:
            break
    kept = up_to - probabilities < top_p
    return ordered[kept], places[kept]
