"""Trains the sequence model: softmax over the items that may come next, every prefix an example, early stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import cast

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from core.settings.models import AugmentationSettings, SequenceSettings
from recommender.errors import TrainingDataError
from recommender.fitting.checkpoint import Checkpoint
from recommender.fitting.context import FitContext
from recommender.fitting.descent import descend
from recommender.fitting.device import on_gpu_bfloat16
from recommender.fitting.early_stopping import EarlyStopping, weights_of
from recommender.fitting.finiteness import finite_scores
from recommender.fitting.summary import Progress
from recommender.inputs.augmentation import AS_THEY_ARE, Augmenter
from recommender.inputs.ids import PADDING
from recommender.inputs.item_vectors import ItemVectors
from recommender.inputs.queries import A_SAMPLE, Queries, read_queries, sample_queries
from recommender.inputs.sequences import TrainingSequence, sequence_input
from recommender.metrics.ranking import PER_QUERY, metric_key
from recommender.metrics.top_k import hits_of, mask_seen
from recommender.retrieval.sequence.examples import Examples, Learnable, NextItems, n_targets
from recommender.retrieval.sequence.model import AnySequenceModel, SequenceModel, SequenceShape
from recommender.retrieval.sequence.warm_start import start_from

# Enough for a steady choice of the epoch, and quick whatever the shop's size.
MAX_VALIDATION_QUERIES = 5000
PART = "sequence model"
CHECKPOINT_EVERY_S = 10.0


@dataclass(frozen=True)
class Epoch:
    """What came out of one pass over the sequences: the best NDCG of any popularity weight, and that weight.

    Where choices are held nothing is validated: there is no NDCG, and the weight is the held one. The weights that a
    fit starts from, where it does not start from nothing, are its epoch 0, which has no loss.
    """

    number: int
    loss: float | None
    ndcg: float | None
    popularity_weight: float


def train_sequence_model(
    fit: FitContext,
    vectors: ItemVectors,
    settings: SequenceSettings,
    max_history: int,
    augmentation: AugmentationSettings = AS_THEY_ARE,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> tuple[SequenceModel, list[Epoch]]:
    """Train until the validation NDCG has not risen for `patience` epochs; the best epoch's weights are kept.

    Where `fit.held` is given, train for `max_epochs`, with its popularity weight. Where `fit.start` is given, start
    from that bundle's weights and learn what is new since, beside a sample of what is older.

    Runs under the caller's `fit.deterministic`, which seeds weights and dropout.

    Args:
        augmentation: What each epoch's training sequences are changed by.
        checkpoint: Where the state is kept between epochs, and taken up again.
        on_epoch: Called with every epoch; what it raises ends the fit.
    Returns:
        The model in evaluation mode, and all epochs in order.
    Raises:
        TrainingDataError: no sequence has two known items, or no user with a history is in the validation window.
        BundleError: the weights to start from cannot be read, or are of another shape.
    """
    learnable = Learnable.read(fit, vectors.ids, max_history + 1)
    evaluator = None if fit.held else ValidationEvaluator.of(fit, vectors, settings, max_history)
    learned = learned_items(learnable.all, len(vectors.ids))
    content = vectors.content(settings.use_text, settings.use_modality)
    shape = SequenceShape(
        n_items=len(vectors.ids),
        text_width=content.shape[1],
        width=settings.width,
        n_blocks=settings.n_blocks,
        n_heads=settings.n_heads,
        max_history=max_history,
        use_ids=settings.use_ids,
        use_text=settings.use_text,
        filter_share=settings.filter_share,
        filter_frequencies=settings.filter_frequencies,
        use_modality=settings.use_modality,
    )
    model = SequenceModel(shape, content, learned, settings.dropout, settings.id_dropout).to(fit.device)
    n_weights = sum(weight.numel() for weight in model.parameters())
    if fit.start is not None:
        start_from(fit.start, model, vectors)
    sequences = learnable.sequences
    fit.progress(
        f"sequence model: {n_targets(sequences)} next items in {len(sequences)} sequences, "
        f"{int(learned.sum())} of {len(vectors.ids)} items learned, {n_weights} weights"
    )
    if held := fit.held_summary():
        model.popularity_weight.fill_(held.choices["popularity_weight"])
    run = _Run(model, learnable, evaluator, settings, Augmenter(augmentation, fit.seed), fit.seed)
    if fit.start is not None:
        run.begin()
    return run.fit(fit.progress, checkpoint, on_epoch)


class _Run:
    """A fit: the model, what it learns from, and all that changes from epoch to epoch."""

    def __init__(
        self,
        model: SequenceModel,
        learnable: Learnable,
        evaluator: ValidationEvaluator | None,
        settings: SequenceSettings,
        augmenter: Augmenter,
        seed: int,
    ) -> None:
        self.model, self.learnable, self.evaluator, self.settings = model, learnable, evaluator, settings
        self.augmenter, self.generator = augmenter, np.random.default_rng(seed)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), fused=True)
        permute = np.random.default_rng(seed).permutation
        of_an_epoch = [*learnable.sequences, *learnable.replay(permute)]
        n_examples = len(Examples(of_an_epoch).drawn(settings.epoch_items, permute)) if of_an_epoch else 0
        self.average = averaged(model, settings.average_epochs * math.ceil(n_examples / settings.batch_size))
        self.candidates = torch.nonzero(model.learned).flatten()
        self.epochs: list[Epoch] = []
        self.best = EarlyStopping(-math.inf, weights_of(model), settings.patience, part=PART)

    def begin(self) -> None:
        """Count the weights that it starts from as epoch 0: one that is no better does not take their place."""
        if self.evaluator is None:
            start = Epoch(0, None, None, float(self.model.popularity_weight))
        else:
            start = Epoch(0, None, *self.evaluator.choose_popularity_weight(self.model))
        self.epochs.append(start)
        self.best.keep(0, start.ndcg or 0.0, weights_of(self.model))

    @property
    def n_epochs(self) -> int:
        """How many were run."""
        return self.epochs[-1].number if self.epochs else 0

    def fit(
        self, progress: Progress, checkpoint: Checkpoint | None, on_epoch: Callable[[Epoch], None] | None
    ) -> tuple[SequenceModel, list[Epoch]]:
        if checkpoint:
            self._take_up(checkpoint, progress)
        saved = time.monotonic()
        while not self._is_over(progress):
            started = time.monotonic()
            epoch = self._run_epoch()
            progress(
                f"epoch {epoch.number}/{self.settings.max_epochs}: loss {epoch.loss:.3f}, {self._validated(epoch)}"
                f"{time.monotonic() - started:.1f} s"
            )
            if checkpoint and time.monotonic() - saved > CHECKPOINT_EVERY_S:
                self._keep(checkpoint)
                saved = time.monotonic()
            if on_epoch:
                on_epoch(epoch)
        self.model.load_state_dict(self.best.state)
        return self.model.eval(), self.epochs

    def _validated(self, epoch: Epoch) -> str:
        if self.evaluator is None:
            return ""
        weight = f"popularity weight {epoch.popularity_weight:g}"
        return f"{metric_key('ndcg', self.evaluator.k)} {epoch.ndcg:.4f} ({weight}), "

    def _is_over(self, progress: Progress) -> bool:
        if self.n_epochs >= self.settings.max_epochs or not self.learnable.sequences:
            return True
        if self.evaluator is None or not self.best.is_over(self.n_epochs):
            return False
        progress(f"stopped: no better epoch than {self.best.step} in {self.settings.patience}")
        return True

    def _run_epoch(self) -> Epoch:
        loss = self._train_epoch()
        averaged = cast(SequenceModel, self.average.module)
        number = self.n_epochs + 1
        if self.evaluator is None:
            epoch = Epoch(number, loss, None, float(averaged.popularity_weight))
            self.best.keep(number, 0.0, weights_of(averaged))
        else:
            ndcg, weight = self.evaluator.choose_popularity_weight(averaged)
            epoch = Epoch(number, loss, ndcg, weight)
            if self.best.is_beaten_by(ndcg):
                self.best.keep(number, ndcg, weights_of(averaged))
        self.epochs.append(epoch)
        return epoch

    def _train_epoch(self) -> float:
        """One pass over the examples; returns the mean loss of one."""
        self.model.train()
        total, where, device = 0.0, f"epoch {self.n_epochs + 1}", self.candidates.device
        permute = self.generator.permutation
        sequences = [*self.learnable.sequences, *self.learnable.replay(permute)]
        examples = Examples(self.augmenter.sequences(sequences)).drawn(self.settings.epoch_items, permute)
        for batch in examples.batches(self.settings.batch_size, permute):
            with on_gpu_bfloat16(device):
                loss = next_item_loss(self.model, batch.to(device), self.candidates, self.settings.n_negatives)
            total += descend(PART, loss, self.optimizer, where) * len(batch.targets)
            self.average.update_parameters(self.model)
        return total / len(examples)

    def _keep(self, checkpoint: Checkpoint) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.state.items()}
        for place, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in state.items()}
        checkpoint.save(
            tensors,
            {
                "epochs": [asdict(epoch) for epoch in self.epochs],
                "order": self.generator.bit_generator.state,
                "augmenter": self.augmenter.state,
            },
        )

    def _take_up(self, checkpoint: Checkpoint, progress: Progress) -> None:
        kept = checkpoint.load(progress)
        if kept is None:
            return
        tensors, notes = kept
        by_part: dict[str, dict[str, torch.Tensor]] = {"model": {}, "average": {}, "best": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            by_part[part][rest] = tensor
        self.model.load_state_dict(by_part["model"])
        self.average.load_state_dict(by_part["average"])
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in by_part["optimizer"].items():
            place, _, rest = name.partition(".")
            state.setdefault(int(place), {})[rest] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.epochs = [Epoch(**epoch) for epoch in notes["epochs"]]
        best = best_of(self.epochs)
        self.best.keep(best.number, best.ndcg or 0.0, by_part["best"])
        self.generator.bit_generator.state = notes["order"]
        self.augmenter.state = notes["augmenter"]
        progress(f"went on from epoch {self.n_epochs}, kept in {checkpoint.folder.name}")


class ValidationEvaluator:
    """The validation queries, as the model reads them.

    Args:
        vectors: The catalogue.
        queries: Each of a user with a known history.
        k: Length of the evaluated list.
        popularity_weights: Those to choose from. Where histories are few, popularity is hard to beat and worth leaning
            on; 0 leaves it out.
    """

    def __init__(
        self, vectors: ItemVectors, queries: Queries, max_history: int, k: int, popularity_weights: Sequence[float]
    ) -> None:
        self.k, self.ids, self.popularity_weights = k, vectors.ids, tuple(popularity_weights)
        self.prior = np.log1p(vectors.catalogue.n_events).astype(np.float32)
        self.users = [some.users for some in queries.passes(len(vectors.ids))]
        self.histories = [sequence_input(users, vectors.ids, max_history) for users in self.users]
        self.targets = [vectors.ids.known_indices(wanted) for wanted in queries.targets]
        self.n_targets = queries.n_targets

    @classmethod
    def of(
        cls, fit: FitContext, vectors: ItemVectors, settings: SequenceSettings, max_history: int
    ) -> ValidationEvaluator:
        """On a sample of a training set's validation queries.

        Raises:
            TrainingDataError: no user with a history is in the validation window.
        """
        queries = _validation_queries(fit)
        return cls(vectors, queries, max_history, fit.k, settings.popularity_weights)

    def choose_popularity_weight(self, model: AnySequenceModel) -> tuple[float, float]:
        """Set the model's popularity weight to the one with the best NDCG.

        Returns:
            That NDCG, and the weight; the smaller weight where two do equally well.
        Raises:
            NotFinite: a score is NaN or infinite.
        """
        hits: dict[float, list[np.ndarray]] = {weight: [] for weight in self.popularity_weights}
        model.eval()
        with torch.inference_mode():
            items = model.item_vectors()[1:]
            start = 0
            for users, history in zip(self.users, self.histories, strict=True):
                expected = model.expect(history.to(items.device))
                answers = finite_scores(PART, (expected @ items.T).cpu().numpy())
                scores = mask_seen(answers, users, self.ids)
                targets = self.targets[start : start + len(users)]
                for weight, found in hits.items():
                    found.append(hits_of(scores + np.float32(weight) * self.prior, targets, self.k))
                start += len(users)
        ndcgs = [float(PER_QUERY["ndcg"](np.concatenate(found), self.n_targets).mean()) for found in hits.values()]
        best = int(np.argmax(ndcgs))
        model.popularity_weight.fill_(self.popularity_weights[best])
        return ndcgs[best], self.popularity_weights[best]


def best_of(epochs: Sequence[Epoch]) -> Epoch:
    """The first with the best NDCG; the last where choices are held, as nothing was validated."""
    return max(epochs, key=lambda epoch: epoch.number if epoch.ndcg is None else epoch.ndcg)


def averaged(model: SequenceModel, n_steps: float) -> AveragedModel:
    """The model with the exponential average of its weights over about `n_steps` steps; 0 is the weights themselves.

    Source: Izmailov et al. 2018 (SWA); the exponential form is Polyak & Juditsky's, as torch has it.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(math.exp(-1 / n_steps) if n_steps else 0.0))


def next_item_loss(model: SequenceModel, batch: NextItems, candidates: torch.Tensor, n_negatives: int) -> torch.Tensor:
    """Softmax loss of the next item, the mean over the batch.

    Args:
        candidates: The items that the softmax runs over: those that occur in training, for an item that never does
            would only ever be pushed down. Shape (n,), int64.
        n_negatives: Drawn uniformly, none twice, for the whole batch, together standing for all candidates; 0, or no
            fewer than there are candidates, is the full softmax.
    Source: Klenitskiy & Vasilev 2023, Turning Dross Into Gold Loss; the weight of what is drawn is that of Bengio &
        Senecal 2003, Quick Training of Probabilistic Neural Nets by Importance Sampling.
    """
    expected, targets = model(batch.history), batch.targets  # (B, D), (B,)
    if n_negatives and n_negatives < len(candidates):
        drawn = torch.randperm(len(candidates))[:n_negatives]
        negatives = candidates[drawn.to(candidates.device)]
        positive = (expected * model.item_vectors(targets)).sum(dim=-1)  # (B,)
        logits = _without_targets(expected @ model.item_vectors(negatives).T, negatives, targets)
        logits = logits + math.log(len(candidates) / n_negatives)
        return (torch.logaddexp(positive, torch.logsumexp(logits, dim=1)) - positive).mean()
    logits = expected @ model.item_vectors(candidates).T  # (B, n)
    return F.cross_entropy(logits, torch.searchsorted(candidates, targets))


def _without_targets(logits: torch.Tensor, negatives: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-inf where a negative is the row's own target, in place. Shape (B, n)."""
    column = torch.full((int(max(negatives.max(), targets.max())) + 1,), -1, device=logits.device)
    column[negatives] = torch.arange(len(negatives), device=logits.device)
    rows = torch.nonzero(column[targets] >= 0).flatten()
    return logits.index_put_((rows, column[targets][rows]), logits.new_tensor(-torch.inf))


def learned_items(sequences: list[TrainingSequence], n_items: int) -> torch.Tensor:
    """True for items that occur in the sequences. Shape (n_items + 1,), bool."""
    learned = torch.zeros(n_items + 1, dtype=torch.bool)
    learned[torch.cat([sequence.items for sequence in sequences])] = True
    learned[PADDING] = False
    return learned


def _validation_queries(fit: FitContext) -> Queries:
    queries = read_queries(fit.training, "validation")
    if not queries.is_warm.any():
        raise TrainingDataError(
            "Cannot train sequence model",
            got=f"validation queries with a history=0 of {len(queries)}",
            expected="at least 1",
            where=str(fit.training),
            do="Give more interactions, or a larger recipe.evaluation.validation_share",
        )
    sample = sample_queries(queries, MAX_VALIDATION_QUERIES, fit.seed, warm_only=True)
    fit.cap("validation users that the sequence model is chosen by", len(sample), int(queries.is_warm.sum()), A_SAMPLE)
    return sample
