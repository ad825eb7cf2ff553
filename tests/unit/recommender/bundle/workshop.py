"""A tiny shop's training set, and bundles that the real fits make of it."""

import json
from pathlib import Path

from core.settings.models import (
    BlendSettings,
    EncoderSettings,
    ItemKnnSettings,
    NeighbourSettings,
)
from core.settings.tree import Recipe
from recommender.bundle.assembly import assemble_bundle
from recommender.fitting.context import FitContext
from recommender.ranking.blend_training import fit_blend
from recommender.retrieval.sequence.fit import fit_sequence
from recommender.retrieval.text.embedding import embed_catalogue
from tests.unit.recommender.tiny_shop import DATA, QUICK, save_tiny_encoder, write_training_set

K = 5


class Workshop:
    """A tiny shop's training set and encoder, and the fits over them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.training = write_training_set(root / "training")
        model = str(save_tiny_encoder(root / "encoder"))
        self.encoder = EncoderSettings(model=model, precision="float32", fine_tune="none")
        self.said: list[str] = []

    def build(self, name: str, seed: int = 1, training: Path | None = None) -> Path:
        training, parts, target = training or self.training, self.root / f"{name}-parts", self.root / name
        embed_catalogue(
            FitContext(training, seed, threads=1, progress=self.said.append), parts / "vectors", self.encoder
        )
        fit_sequence(
            FitContext(training, seed, k=K, threads=1, progress=self.said.append),
            parts / "vectors",
            parts / "sequence",
            QUICK,
            6,
        )
        blend = BlendSettings(kind="mean")
        fit_blend(
            FitContext(training, seed, k=K, threads=1, progress=self.said.append),
            parts / "vectors",
            parts / "sequence",
            parts / "blend",
            (NeighbourSettings(), ItemKnnSettings()),
            blend,
        )
        assemble_bundle(
            target,
            shop="tiny",
            recipe=Recipe(encoder=self.encoder, sequence=QUICK, blend=blend, seed=seed),
            data=DATA,
            components={name: parts / name for name in ("vectors", "sequence", "blend")},
            code_version="test",
        )
        return target


def edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
