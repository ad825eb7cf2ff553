"""Settings of what is learned: encoder, sequence model, neighbours, blend, scorer, writer, augmentation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Tag

from recommender.settings_form import Frozen, Share, kind_or

BlendKind = Literal["auto", "none", "mean", "weighted", "gate"]


class EncoderSettings(Frozen):
    """The text encoder."""

    model: str = Field("minilm", description="'minilm' (comes as a package), or a Hugging Face name or path.")
    max_tokens: int = Field(64, ge=8, le=512, description="Tokens of a text that are read.")
    batch_size: int = Field(32, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the CPU has it."
    )


class SequenceSettings(Frozen):
    """The sequence model: a causal transformer over item vectors (learned id + projected whitened text)."""

    width: int = Field(64, ge=8, le=1024)
    n_blocks: int = Field(1, ge=1, le=8)
    n_heads: int = Field(2, ge=1, le=16)
    dropout: float = Field(0.4, ge=0, lt=1)
    id_dropout: float = Field(0.2, ge=0, lt=1, description="Share of id vectors dropped in training: the cold path.")
    use_ids: bool = Field(True, description="Learn a vector per item.")
    use_text: bool = Field(True, description="Project the item's whitened text vector.")
    n_negatives: int = Field(256, ge=0, description="Uniform negatives per batch; 0 is the full softmax.")
    learning_rate: float = Field(1e-3, gt=0)
    batch_size: int = Field(128, ge=1)
    max_epochs: int = Field(60, ge=1, le=1000)
    patience: int = Field(5, ge=1, description="Epochs without a better validation NDCG before training stops.")


class NeighbourSettings(Frozen):
    """The neighbourhood model: item-to-item weights in closed form."""

    n_neighbours: int = Field(100, ge=1, le=10_000, description="Weights kept of each item, the strongest ones.")
    regularisation: float = Field(50.0, gt=0, description="The larger, the more common co-occurrence has to be.")
    recency: float = Field(0.7, gt=0, le=1, description="How much an earlier entry of a history counts of the next.")
    max_items: int = Field(20_000, ge=1, description="Only so many of the most frequent items are learned.")


class BlendSettings(Frozen):
    """How the sequence model and the neighbourhood model rank together."""

    kind: BlendKind = Field(
        "auto",
        description="none: the sequence model alone. mean: both alike. weighted: one weight. gate: a weight by the "
        "length of the history. auto: whichever ranks best on the validation window.",
    )


class ScorerSettings(Frozen):
    """The pair scorer, light form: a small network over text vectors and counts gives P(like) and the rating."""

    hidden: int = Field(64, ge=4)
    dropout: float = Field(0.4, ge=0, lt=1)
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    batch_size: int = Field(256, ge=1)
    max_epochs: int = Field(30, ge=1)
    patience: int = Field(5, ge=1)
    like_from: float = Field(4.0, ge=1, le=5, description="A rating of at least this is a like.")


class SmallWriterSettings(Frozen):
    """A small causal language model with a tokenizer of its own, trained on the shop's reviews from scratch."""

    kind: Literal["small"] = "small"
    vocabulary: int = Field(4000, ge=300, le=60_000)
    width: int = Field(192, ge=16)
    n_layers: int = Field(3, ge=1)
    n_heads: int = Field(3, ge=1)
    max_tokens: int = Field(160, ge=32, le=1024, description="Tokens of prompt and review together.")
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    max_epochs: int = Field(4, ge=1)
    max_steps: int = Field(2000, ge=1, description="Steps at most; fewer where validation shows no more gain.")


class HuggingFaceWriterSettings(Frozen):
    """Any Hugging Face causal language model by name or path, fine-tuned on the shop's reviews."""

    kind: Literal["huggingface"] = "huggingface"
    model: str = Field(description="Name or path.")
    max_tokens: int = Field(128, ge=32, le=4096)
    batch_size: int = Field(8, ge=1)
    learning_rate: float = Field(5e-5, gt=0)
    max_epochs: int = Field(1, ge=1)
    max_steps: int = Field(200, ge=1)


Writer = Annotated[
    Annotated[SmallWriterSettings, Tag("small")] | Annotated[HuggingFaceWriterSettings, Tag("huggingface")],
    kind_or("small"),
]


class AugmentationSettings(Frozen):
    """Training data made more varied; evaluation data never is. All off by default."""

    crop: Share = Field(0.0, description="Share of training sequences cut to a stretch of them, each epoch anew.")
    mask: Share = Field(0.0, description="Share of training sequences from which items are left out.")
    reorder: Share = Field(0.0, description="Share of training sequences of which a stretch is shuffled.")
    strength: float = Field(0.3, gt=0, le=0.8, description="Share of a sequence's items that such a change touches.")
    perturb_words: Share = Field(0.0, description="Share of words of the writer's prompts that are perturbed.")
    cold_oversampling: float = Field(1.0, ge=1, le=20, description="How many times cold items are seen in an epoch.")
    cold_below: int = Field(5, ge=1, description="An item with fewer training events is cold.")
