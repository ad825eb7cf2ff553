"""The pair scorer's language model: it reads "user profile [SEP] item" and says P(like) and the rating."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.settings.models import CrossEncoderSettings
from core.storage import write_json
from recommender.encoders.encoder import model_source
from recommender.errors import RecommenderError
from recommender.fitting.component import loading, read_config
from recommender.fitting.device import autocast, choose_dtype, device_of
from recommender.fitting.finiteness import finite_scores
from recommender.fitting.pretrained import MAKING_A_MODEL
from recommender.fitting.tensors import check_before_saving, check_loaded, read_tensors, save_tensors
from recommender.inputs.batching import by_length
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.texts import taste_text
from recommender.inputs.user import UserState

HEADS_FILE = "heads.safetensors"
CONFIG_FILE = "cross_encoder.json"
N_NAMES = 5
PAIRS_PER_PASS = 64

Texts = tuple[str, str]


class CrossEncoderError(RecommenderError):
    """The pair scorer's language model cannot be loaded."""


class CrossEncoder(nn.Module):
    """Pairs of texts to a like logit and a rating.

    Args:
        model: A transformers model that returns `last_hidden_state`, in float32.
        tokenizer: Its tokenizer.
        max_tokens: Of profile and item together; the longer of the two is cut first.
        dtype: Of the arithmetic where it may be less exact.
        start: What both answers are before anything is learned: a like logit and a rating.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_tokens: int,
        dtype: torch.dtype,
        start: tuple[float, float] = (0.0, 3.0),
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.dtype = dtype
        self._tokenizing = threading.Lock()
        self.heads = nn.Linear(int(model.config.hidden_size), 2)
        nn.init.zeros_(self.heads.weight)
        with torch.no_grad():
            self.heads.bias.copy_(torch.tensor(start))

    def forward(self, texts: Sequence[Texts]) -> tuple[Tensor, Tensor]:
        """Like logits and ratings of B pairs of profile and item, both of shape (B,), float32."""
        # A fast tokenizer keeps how it cuts and pads as state, which two threads may not change at once.
        with self._tokenizing:
            tokens = self.tokenizer(
                [profile for profile, _ in texts],
                [item for _, item in texts],
                padding=True,
                truncation="longest_first",
                max_length=self.max_tokens,
                return_tensors="pt",
            ).to(device_of(self))
        with autocast(device_of(self), self.dtype):
            hidden = self.model(**tokens).last_hidden_state.float()  # (B, T, D)
        real = tokens["attention_mask"].unsqueeze(-1).float()  # (B, T, 1)
        pooled = (hidden * real).sum(dim=1) / real.sum(dim=1)
        like, rating = self.heads(pooled).unbind(dim=1)
        return like, rating

    @torch.inference_mode()
    def outputs(self, texts: Sequence[Texts]) -> tuple[Tensor, Tensor]:
        """As `forward`, without dropout, for any number of pairs, and on the CPU; pairs of like length share a pass.

        Raises:
            NotFinite: an answer is NaN or infinite.
        """
        self.eval()
        likes, ratings = torch.zeros(len(texts)), torch.zeros(len(texts))
        for places in by_length([len(profile) + len(item) for profile, item in texts], PAIRS_PER_PASS):
            found = self([texts[place] for place in places])
            likes[places], ratings[places] = found[0].cpu(), found[1].cpu()
        for answers in (likes, ratings):
            finite_scores("cross-encoder", answers.numpy())
        return likes, ratings

    def save(self, folder: Path) -> None:
        """Write weights, tokenizer and configuration into a folder that exists.

        Raises:
            BundleError: a weight is NaN or infinite.
        """
        check_before_saving("cross-encoder", self.model.state_dict())
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_tensors(folder / HEADS_FILE, self.heads.state_dict())
        config = {"max_tokens": self.max_tokens, "dtype": str(self.dtype).removeprefix("torch.")}
        write_json(folder / CONFIG_FILE, config)

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> CrossEncoder:
        """Read what `save` wrote.

        Raises:
            BundleError: a file is missing or unreadable.
        """
        config = read_config(folder / CONFIG_FILE)
        expected = f"a language model, {HEADS_FILE} and {CONFIG_FILE}"
        with loading("pair scorer", got=f"folder={folder}", expected=expected, do="Fit the scorer again"):
            model, tokenizer = _load_pretrained(str(folder))
            dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[config["dtype"]]
            encoder = cls(model, tokenizer, config["max_tokens"], dtype)
            encoder.heads.load_state_dict(read_tensors(folder / HEADS_FILE))
        return encoder.to(device).eval()


def load_cross_encoder(
    settings: CrossEncoderSettings, start: tuple[float, float], device: str = "cpu"
) -> tuple[CrossEncoder, str]:
    """A pretrained encoder with new heads, and why it computes as it does; no code of the repository is run.

    Args:
        start: See `CrossEncoder`.
        device: Where it computes.
    Raises:
        EncoderError: the model is named by a path that does not exist.
        CrossEncoderError: it is not at hand and cannot be fetched, or cannot see so many tokens.
    """
    dtype, reason = choose_dtype(settings.precision, device)
    with _named(settings):
        model, tokenizer = _load_pretrained(model_source(settings.model))
    _check_sight(model.config, settings)
    return CrossEncoder(model, tokenizer, settings.max_tokens, dtype, start).to(device), reason


def check_cross_encoder(settings: CrossEncoderSettings) -> None:
    """Refuse, before anything is fitted, a language model that is not at hand; its weights are not read.

    Raises:
        EncoderError, CrossEncoderError: as of `load_cross_encoder`.
    """
    from transformers import AutoConfig, AutoTokenizer

    source = model_source(settings.model)
    with _named(settings):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    _check_sight(config, settings)


@contextmanager
def _named(settings: CrossEncoderSettings) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise CrossEncoderError(
            "Cannot load the pair scorer's language model",
            got=f"recipe.scorer.model={settings.model}",
            expected="'minilm', or a folder or name of a Hugging Face encoder that is at hand",
            where=str(error).splitlines()[0].rstrip("."),
            do="Give a local folder, or let the hub be reached (HF_HUB_OFFLINE=0)",
        ) from error


def _check_sight(config: Any, settings: CrossEncoderSettings) -> None:
    most = getattr(config, "max_position_embeddings", settings.max_tokens)
    if settings.max_tokens > most:
        raise CrossEncoderError(
            "Cannot load the pair scorer's language model",
            got=f"recipe.scorer.max_tokens={settings.max_tokens}",
            expected=f"at most {most}, all that {settings.model} can see",
            do="Lower it",
        )


def pair_texts(
    user: UserState, item_id: str, catalogue: Catalogue, like_from: float, item_text: str | None = None
) -> Texts:
    """What the language model reads of a pair: the one function for training, evaluation and serving.

    Of the user only what the rated pairs of a training set have too, so that training and serving read the same.

    Args:
        like_from: A rating of at least this is a like; an entry without a rating counts as one.
        item_text: What is read of the item, where its text in the catalogue quotes the user.
    Raises:
        UnknownItem: the item is not in the catalogue.
    """
    liked: list[str] = []
    disliked: list[str] = []
    for item, value in zip(reversed(user.items), reversed(user.values), strict=True):
        names = liked if value is None or value >= like_from else disliked
        if len(names) < N_NAMES and item in catalogue.ids:
            names.append(catalogue.label(item, item_text if item == item_id else None))
        if len(liked) == len(disliked) == N_NAMES:
            break
    text = catalogue.text(item_id)
    return taste_text(user.mean_rating, liked, disliked), text if item_text is None else item_text


def _load_pretrained(source: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with MAKING_A_MODEL:
        model = AutoModel.from_pretrained(source, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(source)
    check_loaded(source, model.state_dict())
    return model, tokenizer
