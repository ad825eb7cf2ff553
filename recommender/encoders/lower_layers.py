"""The frozen lower layers of a causal language model, run apart from the upper ones that are trained.

What they make of a text never changes while the upper ones learn, so it is computed once and kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from recommender.encoders.adapters import decoder_layers
from recommender.encoders.embedded_model import LanguageModelError

# Of what is kept, bytes: beyond it states are computed again, to the same bits.
MAX_KEPT = 512_000_000


class _Reached(Exception):
    def __init__(self, states: torch.Tensor) -> None:
        self.states = states


class LowerLayers:
    """The layers below the trained ones.

    Args:
        model: The whole model, whose uppermost layers may have additions.
        n_trained: How many of them are trained.
    """

    def __init__(self, model: Any, n_trained: int) -> None:
        layers = list(decoder_layers(model))
        self.model = model
        self._frozen, self._first = layers[: len(layers) - n_trained], layers[len(layers) - n_trained]
        self._kept: dict[int, torch.Tensor] = {}
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self._frozen)

    def states(self, key: int, inputs: dict[str, Any]) -> torch.Tensor:
        """What the trained layers read of a batch, rounded to bfloat16; from what is kept where it was asked before.

        Args:
            key: Names the batch; equal keys are equal inputs.
            inputs: The model's own.
        Returns:
            Shape (B, T, D), in the model's type.
        """
        if key not in self._kept:
            states = self._compute(inputs).to(torch.bfloat16)
            if self._n_bytes + states.nbytes > MAX_KEPT:
                return states.to(self.model.dtype)
            self._kept[key], self._n_bytes = states, self._n_bytes + states.nbytes
        return self._kept[key].to(self.model.dtype)

    def _compute(self, inputs: dict[str, Any]) -> torch.Tensor:
        def stop(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            raise _Reached(args[0] if args else named["hidden_states"])

        handle = self._first.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            with torch.no_grad():
                self.model(**inputs)
        except _Reached as reached:
            if isinstance(reached.states, torch.Tensor):
                return reached.states
        finally:
            handle.remove()
        raise LanguageModelError(
            "Cannot fine-tune the upper layers of a language model alone",
            got=f"model_type={self.model.config.model_type}",
            expected="layers that pass a tensor of states on",
            do="Set recipe.writer.trained_layers=0, or choose another model",
        )

    @contextmanager
    def passed(self, states: torch.Tensor) -> Iterator[None]:
        """Within the block, the model computes its trained layers alone, on these states, whatever tokens it is given.

        The tokens still have to be of the same shape.
        """

        def give(_: Any, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            if args:
                return (states, *args[1:]), named
            return args, {**named, "hidden_states": states}

        for layer in self._frozen:
            layer.forward = _pass_on
        handle = self._first.register_forward_pre_hook(give, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()
            for layer in self._frozen:
                del layer.forward  # the class's own shows again


def _pass_on(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return hidden_states
