"""The feedback writer: a causal language model that writes the review a user would write, or why an item suits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from core.settings.models import DecodingWeights
from core.storage import write_json
from recommender.aspects.extraction import Language
from recommender.aspects.mentions import Mentions
from recommender.aspects.statements import KnownStatements
from recommender.encoders.language_model import read_language_model
from recommender.encoders.llama import Int8Llama, why_not_int8
from recommender.encoders.next_token import NextToken, PlainNextToken, Texts
from recommender.fitting.component import loading, read_config
from recommender.fitting.context import silent
from recommender.fitting.summary import Progress
from recommender.fitting.tensors import check_before_saving
from recommender.writing.adapter import ADAPTER, Adapter, load_adapted
from recommender.writing.contacts import mask_contacts
from recommender.writing.copies import TrainingRuns
from recommender.writing.decoding import (
    Decoding,
    Released,
    ShouldStop,
    WriterError,
    WritingStopped,
    choose_draft,
    finish_sentence,
    search_beams,
)
from recommender.writing.examples import WritingRequest
from recommender.writing.guidance import Guided, contrast_of
from recommender.writing.prompts import Prompts, PromptStyle
from recommender.writing.sampling import Sampling, TextSampler, sampling_seed

CONFIG_FILE = "writer.json"
MAX_REDRAWS = 2
# Drafts that are written side by side at most: each has a memory of its own prompt and words.
MAX_DRAFTS_AT_ONCE = 16
AS_DEFAULT = Decoding()

_SPACE = re.compile(r"\s+")


def never() -> bool:
    """Whoever asked for a text waits for it to its end."""
    return False


def check_usable(config: Any, tokenizer: Any, max_tokens: int, style: PromptStyle) -> None:
    """Refuse a causal language model that cannot write as it is asked to.

    Args:
        config: The model's own.
    Raises:
        WriterError: the tokenizer has no end-of-text token, or no chat template where one is asked for, or the model
            cannot see `max_tokens`.
    """
    if tokenizer.eos_token_id is None:
        raise WriterError(
            "Cannot use language model", got="eos_token=None", expected="an end-of-text token", do="Choose another"
        )
    sees = getattr(config, "max_position_embeddings", None) or max_tokens
    if sees < max_tokens:
        raise WriterError(
            "Cannot use language model",
            got=f"max_tokens={max_tokens}",
            expected=f"at most the {sees} positions of the model",
            do="Lower recipe.writer.max_tokens",
        )
    if style == "chat" and tokenizer.chat_template is None:
        raise WriterError(
            "Cannot use language model",
            got="prompt=chat",
            expected="a tokenizer with a chat template",
            do="Set recipe.writer.prompt=plain, or choose another model",
        )


class _Stop:
    """Asks whether to stop, and remembers that it was told so."""

    def __init__(self, should_stop: ShouldStop) -> None:
        self._should_stop, self.stopped = should_stop, False

    def __call__(self) -> bool:
        self.stopped = self.stopped or self._should_stop()
        return self.stopped


class FeedbackWriter:
    """A causal language model with its tokenizer. Safe to call from many threads.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer.
        max_tokens: Tokens of prompt and text together, as in training.
        perplexity_before: Of the model before it was trained, by window.
        style: How it is asked.
        adapter: What was added to a pretrained model; None of one that is the shop's own.
        runs: What it was shown, so that it copies none of that; None where copying is not bounded.
        guidance: How far texts of low ratings are pushed from praise; 0: not at all. Each costs as two. Beams are not
            guided.
    Attributes:
        bits_per_byte_before: As `perplexity_before`.
        measured_on: Of how many reviews of a window perplexity was measured in training, before and after: the first
            of `sample_by_lot`. Empty where it was not measured.
        drafts: Of so many drafts of a text the best one is taken, where words are drawn and nobody reads along.
        statements: What reviewers state of items, for that choice.
        mentions: What several reviewers of each item speak of, which prompts say; None: they do not.
        language: That statements and the words of drafts are read in for that choice; "none": they do not count.
    Raises:
        WriterError: the tokenizer has no end-of-text token, or no chat template where one is asked for, or the model
            cannot see `max_tokens`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_tokens: int,
        perplexity_before: Mapping[str, float] | None = None,
        style: PromptStyle = "marked",
        adapter: Adapter | None = None,
        runs: TrainingRuns | None = None,
        guidance: float = 0.0,
    ) -> None:
        from transformers import GenerationConfig

        check_usable(model.config, tokenizer, max_tokens, style)
        self.model = model.eval()
        # What a model's makers advise, such as a penalty on repeats, would count in beams beside `Decoding`.
        self.model.generation_config = GenerationConfig()
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.perplexity_before = dict(perplexity_before or {})
        self.bits_per_byte_before: dict[str, float] = {}
        self.measured_on: dict[str, int] = {}
        self.drafts = 1
        self.statements: KnownStatements | None = None
        self.mentions: Mentions | None = None
        self.language: Language = "en"
        self._sampler = TextSampler.of(tokenizer, int(model.config.vocab_size))
        self.adapter, self.runs, self.guidance = adapter, runs, guidance
        self.prompts = Prompts(tokenizer, style, max_tokens)
        self._next_token: NextToken = PlainNextToken(self.model)
        self.decodes_in: DecodingWeights = "full"

    def prepare(self, wanted: DecodingWeights, progress: Progress = silent) -> None:
        """Choose the weights that words are drawn with; the model must not change any more.

        Beams are searched with full weights always.
        """
        self.decodes_in, reason = wanted, why_not_int8(self.model)
        if wanted == "auto" and not reason:
            self._next_token = Int8Llama(self.model)
        if wanted == "auto":
            chosen = f"full weights, for {reason}" if reason else "weights of eight bits"
            progress(f"feedback writer: writes with {chosen}")

    @property
    def n_measured(self) -> int:
        """Reviews of a window that perplexity is measured on at most: one that was pretrained is large, and takes its
        time."""
        return 256 if self.prompts.style == "marked" else 32

    @property
    def end(self) -> int:
        """The end-of-text token."""
        return int(self.tokenizer.eos_token_id)

    def write(
        self,
        requests: Sequence[WritingRequest],
        seed: int | Sequence[int],
        decoding: Decoding = AS_DEFAULT,
        should_stop: ShouldStop = never,
    ) -> list[str]:
        """Write one text per request, in one batch; each ends with a sentence, and none is empty.

        Of several `drafts` of a text, which are written in batches of 16, the best is taken (`choose_draft`); the first
        is the text that there would be without others. Contacts are masked. Where copying is bounded, a text that
        copies too much is drawn again, twice at most, and then loses the sentences that are copied.

        No global random generator is touched. The same request and seed draw the same random numbers alone and
        in any batch.

        Args:
            seed: Equal seeds give equal texts; one for all, or one each.
            should_stop: Asked after each token.
        Raises:
            WriterError: an argument is out of its range.
            WritingStopped: `should_stop` said so.
            NotFinite: the model's scores of a word are NaN or infinite.
        """
        decoding.check()
        seeds = [seed] * len(requests) if isinstance(seed, int) else list(seed)
        if len(seeds) != len(requests):
            raise WriterError(
                "Cannot write feedback",
                got=f"{len(seeds)} seeds",
                expected=f"one for each of {len(requests)} requests",
                do="Change the argument",
            )
        n_drafts = self._n_drafts(decoding)
        chosen: list[str] = []
        at_once = self.texts_at_once(len(requests) * n_drafts, decoding)
        for start in range(0, len(requests), at_once or 1):
            asked, first = requests[start : start + at_once], seeds[start : start + at_once]
            own = [
                sampling_seed(seed, f"draft {number}") if number else seed
                for seed in first
                for number in range(n_drafts)
            ]
            texts = self._bound_copies([one for one in asked for _ in range(n_drafts)], own, decoding, should_stop)
            for place, request in enumerate(asked):
                drafts = texts[place * n_drafts : (place + 1) * n_drafts]
                if n_drafts == 1:
                    chosen.append(drafts[0])
                else:
                    chosen.append(choose_draft(request, drafts, self.statements, self.language))
        return chosen

    def encode(self, request: WritingRequest, perturb: Callable[[str], str] | None = None) -> list[int]:
        """The tokens of a prompt, with what reviewers of the item mention.

        Args:
            perturb: Changes its words.
        """
        if self.mentions is not None and request.mentions is None:
            request = replace(request, mentions=self.mentions.of(request.item_id))
        return self.prompts.encode(request, perturb)

    def texts_at_once(self, n_sequences: int, decoding: Decoding = AS_DEFAULT) -> int:
        """How many texts are written side by side where so many sequences may be: each of its drafts is one."""
        n_drafts = self._n_drafts(decoding)
        return n_sequences if n_drafts == 1 else max(1, min(n_sequences, MAX_DRAFTS_AT_ONCE) // n_drafts)

    def _n_drafts(self, decoding: Decoding) -> int:
        # Where nothing is drawn all drafts would be the same.
        return self.drafts if decoding.draws else 1

    def _bound_copies(
        self, requests: Sequence[WritingRequest], seeds: Sequence[int], decoding: Decoding, should_stop: ShouldStop
    ) -> list[str]:
        """One text per request, none of which copies too much."""
        texts = self._draw(requests, seeds, decoding, should_stop)
        if self.runs is None:
            return texts
        for again in range(1, MAX_REDRAWS + 1 if decoding.draws else 1):
            places = [place for place, text in enumerate(texts) if self.runs.holds_too_much(text)]
            if not places:
                break
            others = [sampling_seed(seeds[place], f"again {again}") for place in places]
            drawn = self._draw([requests[place] for place in places], others, decoding, should_stop)
            for place, text in zip(places, drawn, strict=True):
                texts[place] = text
        return [self.runs.without_copies(text) if self.runs.holds_too_much(text) else text for text in texts]

    def write_aloud(
        self,
        request: WritingRequest,
        seed: int,
        emit: Callable[[str], None],
        decoding: Decoding = AS_DEFAULT,
        should_stop: ShouldStop = never,
    ) -> str:
        """Write one text, and hand out each of its sentences as soon as it cannot change any more.

        It is what `write` writes with a single draft, but where that copies too much: what was handed out cannot be
        drawn again, so that the sentences that are copied are left out at once.

        Args:
            emit: Called with each sentence and the white space before it, in order; with beams, with all of them at
                the end.
            should_stop: Asked after each token.
        Returns:
            All that was handed out, joined.
        Raises:
            WriterError, WritingStopped, NotFinite: as of `write`.
        """
        decoding.check()
        released = Released(emit, self.runs, decoding)
        look = released.look if decoding.n_beams == 1 else None
        (written,) = self._generate([request], [seed], decoding, should_stop, look)
        return released.end(self._finish(written, decoding))

    def _draw(
        self, requests: Sequence[WritingRequest], seeds: Sequence[int], decoding: Decoding, should_stop: ShouldStop
    ) -> list[str]:
        """One text per request, whatever it copies."""
        look = None if decoding.max_words is None or decoding.n_beams > 1 else decoding.is_long_enough
        written = self._generate(requests, seeds, decoding, should_stop, look)
        return [mask_contacts(self._finish(row, decoding)) for row in written]

    def _generate(
        self,
        requests: Sequence[WritingRequest],
        seeds: Sequence[int],
        decoding: Decoding,
        should_stop: ShouldStop,
        look: Callable[[str], bool] | None,
    ) -> list[list[int]]:
        """The tokens that answer each request."""
        prompts = [self.encode(request) for request in requests]
        contrasts = self._contrasts(requests) if decoding.n_beams == 1 else [None] * len(requests)
        # Each text its own, so that what stands beside it changes nothing.
        rooms = [
            min(decoding.max_new_tokens, self.max_tokens - max(len(prompt), len(contrast or ())))
            for prompt, contrast in zip(prompts, contrasts, strict=True)
        ]
        stop = _Stop(should_stop)
        with torch.inference_mode():
            if decoding.n_beams > 1:
                written = search_beams(self.model, self._sampler, prompts, rooms, decoding.n_beams, stop)
            else:
                guided = Guided(self._next_token, contrasts, self.guidance) if any(contrasts) else self._next_token
                texts = guided.begin(prompts, max(rooms))
                own = [sampling_seed(seed, request.prompt) for seed, request in zip(seeds, requests, strict=True)]
                sampling = self._sampler.start(own, rooms, decoding.temperature, decoding.top_p)
                written = self._draw_words(texts, sampling, stop, look)
        if stop.stopped:
            raise WritingStopped(
                "Stopped writing feedback", got=f"{len(requests)} texts", expected="somebody who waits", do="Ask again"
            )
        return written

    def _draw_words(
        self, texts: Texts, sampling: Sampling, stop: ShouldStop, look: Callable[[str], bool] | None
    ) -> list[list[int]]:
        """Word after word, until all texts are done.

        Args:
            look: Told of each text as far as it is written, says whether it is long enough; None: is not told.
        """
        while True:
            tokens = sampling.choose(texts.scores)
            done = sampling.ended
            if look is not None:
                enough = [look(self._read(written)) for written in sampling.written]
                done = [one or other for one, other in zip(done, enough, strict=True)]
            if stop() or all(done):
                return sampling.written
            texts.extend(tokens)

    def _contrasts(self, requests: Sequence[WritingRequest]) -> list[list[int] | None]:
        """The prompt that each text is pushed away from, as tokens; None where there is no rating to show."""
        contrasts = [contrast_of(request) if self.guidance else None for request in requests]
        return [None if contrast is None else self.encode(contrast) for contrast in contrasts]

    def _read(self, tokens: list[int]) -> str:
        """The text of generated tokens, up to their end."""
        if self.end in tokens:
            tokens = tokens[: tokens.index(self.end)]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True).replace("\ufffd", "")
        return _SPACE.sub(" ", text).strip()

    def _finish(self, tokens: list[int], decoding: Decoding) -> str:
        """The text of generated tokens, up to its last whole sentence."""
        return decoding.fit(finish_sentence(self._read(tokens), ended=self.end in tokens))

    def save(self, folder: Path) -> None:
        """Write a writer of the shop's own into a folder that exists, in transformers' own layout; of one that was
        fine-tuned what was added to its base model, and which that is.

        Raises:
            BundleError: a weight is NaN or infinite.
        """
        config: dict[str, Any] = {"max_tokens": self.max_tokens, "perplexity_before": self.perplexity_before}
        config |= {"bits_per_byte_before": self.bits_per_byte_before, "measured_on": self.measured_on}
        config |= {"guidance": self.guidance, "decoding_weights": self.decodes_in}
        if self.adapter is None:
            check_before_saving("feedback writer", self.model.state_dict())
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
        else:
            config |= {"style": self.prompts.style, ADAPTER: self.adapter.save(folder)}
        if self.runs is not None:
            self.runs.save(folder)
        if self.drafts > 1:
            config |= {"drafts": self.drafts, "language": self.language}
        if self.statements is not None:
            self.statements.save(folder)
        if self.mentions is not None:
            self.mentions.save(folder)
        config |= {"bounds_copies": self.runs is not None, "knows_statements": self.statements is not None}
        write_json(folder / CONFIG_FILE, config | {"knows_mentions": self.mentions is not None})

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", models: Path | None = None, progress: Progress = silent
    ) -> FeedbackWriter:
        """Read what `save` wrote, ready to write; fine-tuning does not go on from it.

        Args:
            models: Where converted language models are kept, for a writer that was made of the embedded one.
            progress: Called with a line where a model is converted first.
        Raises:
            BundleError: a file is missing or unreadable, or the base model is not at hand, or is another one.
        """
        config = read_config(folder / CONFIG_FILE)
        added = config.get(ADAPTER)
        expected = f"{'what was added to a model' if added else 'a model, its tokenizer'} and {CONFIG_FILE}"
        with loading("feedback writer", got=f"folder={folder}", expected=expected, do="Fit the writer again"):
            if added:
                model, tokenizer = load_adapted(folder, added, models, progress, device)
            else:
                model, tokenizer = read_language_model(str(folder), str(folder))
            runs = TrainingRuns.load(folder) if config.get("bounds_copies") else None
            style, before = config.get("style", "marked"), config["perplexity_before"]
            guidance = config.get("guidance", 0.0)
            writer = cls(model.to(device), tokenizer, config["max_tokens"], before, style, None, runs, guidance)
            writer.bits_per_byte_before = config.get("bits_per_byte_before", {})
            writer.measured_on = config.get("measured_on", {})
            writer.drafts, writer.language = config.get("drafts", 1), config.get("language", "en")
            writer.statements = KnownStatements.load(folder) if config.get("knows_statements") else None
            writer.mentions = Mentions.load(folder) if config.get("knows_mentions") else None
            writer.prepare(config.get("decoding_weights", "full"), progress)
            return writer
