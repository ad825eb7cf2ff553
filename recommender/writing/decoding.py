"""How a writer's words are chosen, when it stops, and what of a text can no longer change while it is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recommender.aspects.extraction import Language, is_read
from recommender.aspects.statements import KnownStatements, polarity_of
from recommender.encoders.next_token import left_padded
from recommender.errors import RecommenderError
from recommender.inputs.texts import Strategy, count_words, first_words
from recommender.metrics.texts import pieces, rouge_n, words
from recommender.writing.contacts import mask_contacts, settled
from recommender.writing.copies import TrainingRuns
from recommender.writing.examples import WritingRequest
from recommender.writing.sampling import MIN_NEW_TOKENS, NO_REPEAT_LENGTH, TextSampler

MAX_BEAMS = 8
N_BEAMS = 4
# Some 60 words: half of real reviews have no more. Texts of 60 tokens were less like them (benchmarks/README.md).
AS_LONG_AS_REVIEWS = 90

_FINISHED = re.compile(r"[.!?。！？][\"'”’)]*$")
_LAST_SENTENCE_END = re.compile(r"^.*(?:[.!?][\"'”’)]*(?=\s)|[。！？][”’」』）]*)", re.DOTALL)

ShouldStop = Callable[[], bool]


class WriterError(RecommenderError):
    """A language model cannot be used as a feedback writer, or not as asked."""


class WritingStopped(WriterError):
    """Whoever asked for a text wants it no more."""


@dataclass(frozen=True)
class Decoding:
    """How the words of a text are chosen.

    Attributes:
        max_new_tokens: Of a text at most, and no more than the writer sees; what follows the last whole sentence is cut
            off.
        temperature: 0 takes the likeliest token always (greedy search).
        top_p: Draw from the likeliest tokens that have this probability together, above 0 (nucleus sampling).
        n_beams: Above 1, beam search with so many beams: nothing is drawn, whatever the temperature.
        max_words: The text ends within so many words, at a sentence's end where there is one; None: no limit.
    """

    max_new_tokens: int = AS_LONG_AS_REVIEWS
    temperature: float = 0.7
    top_p: float = 0.9
    n_beams: int = 1
    max_words: int | None = None

    @classmethod
    def by(cls, strategy: Strategy, max_new_tokens: int = AS_LONG_AS_REVIEWS, max_words: int | None = None) -> Decoding:
        """With the defaults of a strategy."""
        lengths = cls(max_new_tokens, max_words=max_words)
        match strategy:
            case "nucleus":
                return lengths
            case "greedy":
                return replace(lengths, temperature=0.0)
            case "beam":
                return replace(lengths, n_beams=N_BEAMS)

    @property
    def draws(self) -> bool:
        """Whether another seed gives another text."""
        return self.temperature > 0 and self.n_beams == 1

    def check(self) -> None:
        """Refuse what is out of range.

        Raises:
            WriterError: an attribute is out of its range.
        """
        most, words = self.max_new_tokens, self.max_words
        _check_range("max_new_tokens", most, most >= 1, "at least 1")
        _check_range("temperature", self.temperature, self.temperature >= 0, "at least 0")
        _check_range("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, at most 1")
        _check_range("n_beams", self.n_beams, 1 <= self.n_beams <= MAX_BEAMS, f"1 to {MAX_BEAMS}")
        _check_range("max_words", words, words is None or words >= 1, "at least 1")

    def fit(self, text: str) -> str:
        """The text within `max_words` words, as `count_words` counts them."""
        if self.max_words is None or count_words(text) <= self.max_words:
            return text
        return finish_sentence(f"{first_words(text, self.max_words)} …", ended=False)

    def is_long_enough(self, text: str) -> bool:
        """Whether all that follows would be cut off."""
        return self.max_words is not None and count_words(text) > self.max_words


def search_beams(
    model: Any,
    sampler: TextSampler,
    prompts: Sequence[Sequence[int]],
    rooms: Sequence[int],
    n_beams: int,
    should_stop: ShouldStop,
) -> list[list[int]]:
    """The tokens that answer each prompt, those of the likeliest whole text: transformers' search by the same rules.

    Args:
        model: Whose own `generation_config` is empty: what it says would count too.
        rooms: Tokens that answer each prompt at most; those of equal room are searched side by side.
    """
    found: dict[int, list[int]] = {}
    for room in set(rooms):
        places = [place for place, one in enumerate(rooms) if one == room]
        alike = _search(model, sampler, [prompts[place] for place in places], room, n_beams, should_stop)
        found |= zip(places, alike, strict=True)
    return [found[place] for place in range(len(prompts))]


def _search(
    model: Any,
    sampler: TextSampler,
    prompts: Sequence[Sequence[int]],
    n_new: int,
    n_beams: int,
    should_stop: ShouldStop,
) -> list[list[int]]:
    from transformers import (
        GenerationConfig,
        LogitsProcessorList,
        MinNewTokensLengthLogitsProcessor,
        NoRepeatNGramLogitsProcessor,
        StoppingCriteriaList,
        SuppressTokensAtBeginLogitsProcessor,
        SuppressTokensLogitsProcessor,
    )

    tokens, real = left_padded(prompts)
    width, end, device = tokens.shape[1], sampler.end, model.device
    never, no_start = (torch.nonzero(tokens).flatten().tolist() for tokens in (sampler.never, sampler.no_start))
    no_repeat = NoRepeatNGramLogitsProcessor(NO_REPEAT_LENGTH)

    def no_repeat_of_text(input_ids: Any, scores: Any) -> Any:
        # The text may say what stands in its prompt, such as the item's title.
        return no_repeat(input_ids[:, width:], scores)

    rules: list[Any] = [
        MinNewTokensLengthLogitsProcessor(width, MIN_NEW_TOKENS, end, str(device)),
        no_repeat_of_text,
        SuppressTokensAtBeginLogitsProcessor(no_start, width, str(device)),
    ]
    if never:
        rules.append(SuppressTokensLogitsProcessor(never, str(device)))

    def stops(input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        return torch.full((len(input_ids),), should_stop(), device=input_ids.device)

    found: Tensor = model.generate(
        tokens.to(device),
        attention_mask=real.to(device),
        generation_config=GenerationConfig(
            do_sample=False, num_beams=n_beams, max_new_tokens=n_new, eos_token_id=end, pad_token_id=end
        ),
        logits_processor=LogitsProcessorList(rules),
        stopping_criteria=StoppingCriteriaList([stops]),
    )
    return found[:, width:].tolist()


# Of several drafts, by measures on reviews of a validation window (benchmarks/README.md).
_SUPPORT_COUNTS, _LIKENESS_COUNTS, _POLARITY_COUNTS = 4.0, 0.04, 2.0
# The polarity of a text of five stars; one of a single star has its opposite.
_PRAISE = 0.5


def choose_draft(
    request: WritingRequest, drafts: Sequence[str], known: KnownStatements | None, language: Language = "en"
) -> str:
    """The draft whose statements are supported, that says most of what the others say, and sounds like its rating.

    Args:
        drafts: At least one; of equally good ones the first is taken.
        known: What reviewers state of items; None: statements do not count.
        language: That statements and polarity are read in. Of drafts in another one, which those that are too short to
            tell show together, and where it is "none", neither counts; polarity only where each draft is in it.
    Source: choosing the draft most like the others is minimum Bayes risk, Kumar & Byrne 2004.
    """
    item_words = set(words(request.item))
    is_stated = is_read(" ".join(drafts), language)
    is_judged = is_stated and all(is_read(draft, language) for draft in drafts)

    def score(place: int) -> float:
        draft, others = drafts[place], [other for at, other in enumerate(drafts) if at != place]
        support = known.supported_share(request.item_id, item_words, draft) if known is not None and is_stated else 0.0
        likeness = rouge_n([draft] * len(others), others, 1) if others else 0.0
        stars = request.rating
        off = 0.0 if stars is None or not is_judged else abs(polarity_of(draft) - _PRAISE * (stars - 3) / 2)
        return _SUPPORT_COUNTS * support + _LIKENESS_COUNTS * likeness - _POLARITY_COUNTS * off

    return drafts[max(range(len(drafts)), key=score)]


class Released:
    """The sentences of one text that may be shown while it is written: whole, masked, and not copied.

    A sentence that would make the text copied is left out.

    Args:
        emit: Called with each sentence and the white space before it, in order; joined they are the text.
        runs: What must not be copied; None: no bound.
    """

    def __init__(self, emit: Callable[[str], None], runs: TrainingRuns | None, decoding: Decoding) -> None:
        self._emit, self._runs, self._decoding = emit, runs, decoding
        self._n_seen = 0
        self.text = ""

    def look(self, text: str) -> bool:
        """Take in the text as far as it is written; release what can no longer change.

        Returns:
            Whether it is long enough.
        """
        enough = self._decoding.is_long_enough(text)
        if not enough:
            self._release(mask_contacts(settled(text)))
        return enough

    def end(self, text: str) -> str:
        """Release the rest of a text that is finished; returns all that was released."""
        masked = mask_contacts(text)
        self._release(masked)
        if not self.text:
            self._show(masked if self._runs is None else self._runs.without_copies(masked))
        return self.text

    def _release(self, masked: str) -> None:
        found = pieces(masked)
        for piece in found[self._n_seen :]:
            new = piece if self.text else piece.lstrip()
            if self._runs is None or not self._runs.holds_too_much(self.text + new):
                self._show(new)
        self._n_seen = len(found)

    def _show(self, piece: str) -> None:
        self.text += piece
        self._emit(piece)


def finish_sentence(text: str, ended: bool) -> str:
    """Cut what follows the last whole sentence; where there is none, close the text with a full stop.

    Args:
        ended: The writer itself ended the text, so its last sentence is whole.
    """
    if _FINISHED.search(text):
        return text
    whole = _LAST_SENTENCE_END.match(text)
    if whole and not ended:
        return whole.group()
    if not ended and " " in text:
        text = text.rsplit(" ", 1)[0]
    text = text.rstrip(" ,;:-–")
    return text if _FINISHED.search(text) else f"{text}."


def _check_range(name: str, value: float | None, holds: bool, rule: str) -> None:
    if not holds:
        raise WriterError("Cannot write feedback", got=f"{name}={value}", expected=rule, do="Change the argument")
