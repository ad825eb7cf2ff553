"""What a recipe asks for and cannot have is said before anything is fitted, and not by whatever needs it first."""

from __future__ import annotations

from pathlib import Path

from core import schema
from core.errors import SommelierError
from core.schema import Split
from core.settings.models import CrossEncoderSettings, LanguageModelWriterSettings
from core.settings.tree import Recipe


def check_recipe(recipe: Recipe) -> None:
    """Refuse what no data can make possible: as a run begins, before the data are read.

    Raises:
        SettingsError: a model that every shop has cannot be built of its settings.
    """
    from recommender.fitting.heads import check_heads
    from recommender.retrieval.sequence.model import reads_nothing

    sequence, generative = recipe.sequence, recipe.generative
    if not (sequence.use_ids or sequence.use_text or (sequence.use_modality and recipe.modality.path is not None)):
        raise reads_nothing(sequence.use_text, sequence.use_modality)
    check_heads("sequence model", "sequence", sequence.width, sequence.n_heads)
    if generative.enabled:
        check_heads("generative model", "generative", generative.width, generative.n_heads)


def check_shop(recipe: Recipe, training: Path) -> None:
    """Refuse what this shop's data do not allow: behind the data gate, before the first fit.

    Args:
        training: The training set, with its windows.
    Raises:
        TrainingDataError: nobody can be asked about in a window, or nobody has two items to learn from before them.
        RerankError: the recipe's re-ranking looks at what no item has, or wants more than there is.
        SettingsError: a writer that will be fitted cannot be built of its settings.
        RecommenderError: a language model that will be fitted is not at hand, or cannot do what is asked of it.
    """
    from recommender.inputs.catalogue import Catalogue
    from recommender.inputs.sequences import check_sequences
    from recommender.reranking.requirements import check_rerankable

    _check_windows(training)
    check_sequences(training, recipe.features.max_history)
    if not recipe.rerank.changes_nothing:
        check_rerankable(Catalogue.read(training, recipe.seed), recipe.rerank, recipe.evaluation.k)
    _check_words(recipe, training)


def _check_words(recipe: Recipe, training: Path) -> None:
    """Of writer and pair scorer only what will be fitted: a shop with too few reviews or ratings has none."""
    from recommender.fitting.heads import check_heads
    from recommender.inputs.rated_pairs import RatedPairs
    from recommender.scoring.cross_encoder import check_cross_encoder
    from recommender.scoring.training import MIN_TRAIN_PAIRS
    from recommender.writing.language_training import check_language_model
    from recommender.writing.training import can_learn_to_write

    writer, scorer = recipe.writer, recipe.scorer
    try:
        if isinstance(writer, LanguageModelWriterSettings):
            check_language_model(writer)
        else:
            check_heads("feedback writer", "writer", writer.width, writer.n_heads)
    except SommelierError:
        # Asked last, as it reads every review.
        if can_learn_to_write(training, recipe.seed):
            raise
    if isinstance(scorer, CrossEncoderSettings) and RatedPairs.count(training, "train") >= MIN_TRAIN_PAIRS:
        check_cross_encoder(scorer)


def _check_windows(training: Path) -> None:
    """Models are chosen by users with a history, in validation; all who take something new in the test window count."""
    from recommender.errors import TrainingDataError
    from recommender.inputs.catalogue import read_training_table

    table = read_training_table(training, "queries", [schema.SPLIT, schema.TARGETS, schema.HISTORY_ITEMS])
    rows = [row for row in table.to_pylist() if row[schema.TARGETS]]
    wanted: tuple[tuple[Split, str, list[dict[str, object]]], ...] = (
        ("validation", " with a history", [row for row in rows if row[schema.HISTORY_ITEMS]]),
        ("test", "", rows),
    )
    for split, which, asked in wanted:
        if not any(row[schema.SPLIT] == split for row in asked):
            raise TrainingDataError(
                "Cannot learn from this shop",
                got=f"users{which} who take something new in the {split} window=0",
                expected="at least 1",
                where=str(training),
                do=f"Give more interactions, or a longer window: recipe.evaluation.{split}_share, or {split}_from",
            )
