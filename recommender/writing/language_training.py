"""Fine-tune a pretrained language model on the shop's reviews: additions to its layers (LoRA) are learned.

Training ends by its steps or by its time. It is kept from time to time, and a killed one goes on from there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from core.settings.models import AugmentationSettings, LanguageModelWriterSettings
from core.storage import digest_of
from recommender.encoders.language_model import load_language_model, read_outline
from recommender.encoders.lower_layers import LowerLayers
from recommender.fitting.checkpoint import Checkpoint
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend_in_parts
from recommender.fitting.device import autocast, choose_large_dtype, moved
from recommender.inputs.augmentation import Augmenter
from recommender.writing.adapter import Adapter
from recommender.writing.batches import tokenize
from recommender.writing.course import PART, Course, Meter, Trained
from recommender.writing.examples import WritingExample
from recommender.writing.packs import PACK_TOKENS, Pack, pack_examples
from recommender.writing.writer import FeedbackWriter, check_usable

MAX_WARM_UP = 10
CHECKPOINT_EVERY_S = 30.0
_OPTIMIZER = "optimizer."


def check_language_model(settings: LanguageModelWriterSettings) -> None:
    """Refuse, before anything is fitted, a language model that is not at hand or cannot write as it is asked to.

    Raises:
        LanguageModelError: it is not at hand.
        WriterError: it cannot see `max_tokens`, or has no chat template where one is asked for.
    """
    outline = read_outline(settings.model)
    if outline is not None:
        check_usable(*outline, settings.max_tokens, settings.prompt)


def new_language_writer(fit: FitContext, settings: LanguageModelWriterSettings) -> FeedbackWriter:
    """A writer that is the pretrained model still, with additions that change nothing yet.

    Raises:
        LanguageModelError: the model is not at hand, or has no list of layers.
        WriterError: it cannot see `max_tokens`, or has no chat template where one is asked for.
    """
    dtype, reason = choose_large_dtype(settings.precision, fit.device)
    language = load_language_model(settings.model, fit.models, fit.progress, fit.device, dtype)
    fit.progress(f"language model {language.label}: {language.model.num_parameters():,} weights, {reason}")
    adapter = Adapter.new(language, settings.trained_layers, settings.lora_rank)
    model, tokenizer = language.model, language.tokenizer
    return FeedbackWriter(model, tokenizer, settings.max_tokens, style=settings.prompt, adapter=adapter)


def train_language_writer(
    fit: FitContext,
    target: Path,
    writer: FeedbackWriter,
    examples: Sequence[WritingExample],
    settings: LanguageModelWriterSettings,
    augmentation: AugmentationSettings,
) -> Trained:
    """Run the steps, as many as the settings or the time allow; as many as the held fit took where there is one.

    Args:
        target: The component's folder; the checkpoint lies beside it until `Trained.forget` is called.
        writer: Of `new_language_writer`.
        augmentation: How prompts are perturbed, once: what the frozen layers make of a text is kept.
    Raises:
        NotFinite: the loss or its gradient is NaN or infinite.
    """
    held = fit.held_summary()
    perturb = Augmenter(augmentation, fit.seed).text if augmentation.perturb_words else None
    rows = [tokenize(example, writer, perturb) for example in examples]
    order = torch.Generator().manual_seed(fit.seed)
    packs = pack_examples(rows, min(PACK_TOKENS, settings.step_tokens), order)
    n_packs = min(len(packs), max(1, round(settings.step_tokens / min(PACK_TOKENS, settings.step_tokens))))
    n_steps = min(settings.max_steps, max(1, settings.max_epochs * len(packs) // n_packs))
    course = Course(n_steps, MAX_WARM_UP) if held is None else Course.held(**held.choices)
    run = _Run(fit, writer, packs, settings, course, n_packs)
    said = digest_of([(row.prompt, row.text) for row in rows])
    decided_by = (settings.model_dump(mode="json"), fit.seed, fit.threads, fit.device, course.as_taken, said)
    checkpoint = Checkpoint(target, writer.adapter and writer.adapter.digest, *decided_by)
    fit.progress(
        f"feedback writer: {len(rows)} texts in {len(packs)} packs, at most {course.n_steps} steps of {run.n_packs} "
        f"packs{f' and {settings.minutes:g} min' if settings.minutes and held is None else ''}, "
        f"{len(run.lower)} frozen layers"
    )
    run.train(checkpoint, None if held is not None or settings.minutes is None else 60 * settings.minutes)
    n_read = course.n_steps * run.n_packs
    shown = tuple(row for number in run.order(0)[:n_read] for row in packs[number].rows)
    shown_by = "recipe.writer.max_steps or recipe.writer.minutes"
    return Trained(math.ceil(n_read / len(packs)), course, len(shown), shown_by, shown, checkpoint.clear)


class _Run:
    """One training: where it stands, and what it computes; each step reads `n_packs`."""

    def __init__(
        self,
        fit: FitContext,
        writer: FeedbackWriter,
        packs: Sequence[Pack],
        settings: LanguageModelWriterSettings,
        course: Course,
        n_packs: int,
    ) -> None:
        assert writer.adapter is not None
        self.fit, self.model, self.packs, self.course = fit, writer.model, packs, course
        self.adapted = writer.adapter.adapted
        self.rate = settings.learning_rate
        self.n_packs = n_packs
        self.lower = LowerLayers(self.model, self.adapted.shape.layers)
        self.optimizer = torch.optim.AdamW(self.adapted.trainable, lr=self.rate, weight_decay=0.0, betas=(0.9, 0.98))
        self.step, self.spent_s = 0, 0.0

    def order(self, epoch: int) -> list[int]:
        """All packs, in an order of the epoch's own."""
        random = torch.Generator().manual_seed(int(digest_of(self.fit.seed, epoch), 16) & (2**63 - 1))
        return torch.randperm(len(self.packs), generator=random).tolist()

    def packs_of(self, step: int) -> list[int]:
        """The packs of a step, from 0: those of an epoch in its order, then those of the next one."""
        places = range(step * self.n_packs, (step + 1) * self.n_packs)
        orders = {epoch: self.order(epoch) for epoch in {place // len(self.packs) for place in places}}
        return [orders[place // len(self.packs)][place % len(self.packs)] for place in places]

    def train(self, checkpoint: Checkpoint, budget_s: float | None) -> None:
        """Run the steps that are left.

        Args:
            budget_s: Time that training may take, with what a killed run spent already; None: no limit.
        """
        self._take_up(checkpoint)
        # Without dropout, which the frozen layers of some models have: what they make of a text is kept.
        self.model.eval()
        started = saved = time.monotonic()
        spent_before, left_s = self.spent_s, None if budget_s is None else budget_s - self.spent_s
        meter = Meter(self.course, self.fit.progress, self.step, left_s)
        while self.step < self.course.n_steps:
            numbers = self.packs_of(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate * self.course.rate_share(self.step)
            where = f"step {self.step + 1}"
            loss = descend_in_parts(PART, self._losses(numbers), self.optimizer, where)
            self.step += 1
            meter.count(self.step, loss, sum(self.packs[number].tokens.shape[1] for number in numbers))
            now = time.monotonic()
            self.spent_s = spent_before + now - started
            if budget_s is not None:
                self.course.spend(self.step, self.spent_s / budget_s)
            # The last step always: what comes then, measuring and saving, may be cut short too.
            if now - saved > CHECKPOINT_EVERY_S or self.step >= self.course.n_steps:
                self._keep(checkpoint)
                saved = now

    def _losses(self, numbers: Sequence[int]) -> Iterator[torch.Tensor]:
        """The share of each pack in the step's loss, the mean over its targets."""
        device, dtype = self.fit.device, self.model.dtype
        n_targets = sum(len(self.packs[number].targets) for number in numbers)
        for number in numbers:
            pack = moved(self.packs[number], device)
            inputs = pack.inputs(dtype)
            with autocast(device, dtype):
                if not len(self.lower):
                    yield pack.loss(self.model, inputs) / n_targets
                    continue
                states = self.lower.states(number, inputs)
                with self.lower.passed(states):
                    loss = pack.loss(self.model, inputs) / n_targets
            yield loss

    def _keep(self, checkpoint: Checkpoint) -> None:
        tensors = self.adapted.weights()
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"{_OPTIMIZER}{place}.{name}": tensor for name, tensor in state.items()}
        notes = {"step": self.step, "spent_s": self.spent_s, "course": self.course.as_taken}
        checkpoint.save(tensors, notes)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        kept = checkpoint.load(self.fit.progress)
        if kept is None:
            return
        tensors, notes = kept
        self.adapted.load({name: one for name, one in tensors.items() if not name.startswith(_OPTIMIZER)})
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(_OPTIMIZER):
                place, field = name.removeprefix(_OPTIMIZER).split(".", 1)
                state.setdefault(int(place), {})[field] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.step, self.spent_s = notes["step"], notes["spent_s"]
        self.course.go_on(**notes["course"])
        self.fit.progress(f"feedback writer: went on from step {self.step}, kept in {checkpoint.folder.name}")
