"""Fine-tuning of a causal language model by small additions (LoRA) to its layers, all or the uppermost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from recommender.encoders.embedded_model import LanguageModelError


@dataclass(frozen=True)
class AdapterShape:
    """Which layers have additions, and how large they are.

    Attributes:
        layers: So many of the uppermost layers.
        rank: Of the additions.
    """

    layers: int
    rank: int

    @classmethod
    def of(cls, model: Any, trained_layers: int, rank: int) -> AdapterShape:
        """The shape for a model; 0 layers are all, as are more than it has."""
        n_layers = len(decoder_layers(model))
        return cls(min(trained_layers, n_layers) or n_layers, rank)


class Adapted:
    """A causal language model with additions in its upper layers, which alone can be trained.

    The model that is given is changed in place.

    Source: Hu et al. 2021 (LoRA).
    """

    def __init__(self, model: Any, shape: AdapterShape) -> None:
        from peft import LoraConfig, get_peft_model

        self.model, self.shape = model, shape
        config = LoraConfig(
            r=shape.rank,
            lora_alpha=2 * shape.rank,
            lora_dropout=0.0,
            bias="none",
            fan_in_fan_out=any(isinstance(module, _transposed()) for module in model.modules()),
            target_modules=_linear_names(model, shape.layers),
        )
        self._peft = get_peft_model(model, config)

    @property
    def trainable(self) -> list[torch.nn.Parameter]:
        """The additions' weights, in an order that only the model decides."""
        return [weight for weight in self._peft.parameters() if weight.requires_grad]

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the additions."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(self._peft)
        return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}

    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Put additions in the place of those that are there.

        Raises:
            ValueError: they are of other layers, or of another rank.
        """
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        mine = get_peft_model_state_dict(self._peft)
        if {name: tensor.shape for name, tensor in mine.items()} != {name: t.shape for name, t in weights.items()}:
            raise ValueError("the additions are of other layers, or of another rank")
        set_peft_model_state_dict(self._peft, weights)

    def merged(self) -> Any:
        """The model with the additions in its own weights, as fast as it came; this object is used up."""
        return self._peft.merge_and_unload()


def decoder_layers(model: Any) -> torch.nn.ModuleList:
    """The layers that a causal language model passes its states through, lowest first.

    Raises:
        LanguageModelError: it has no such list.
    """
    wanted = int(model.config.get_text_config().num_hidden_layers)
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == wanted:
            return module
    raise LanguageModelError(
        "Cannot fine-tune language model",
        got=f"model_type={model.config.model_type}",
        expected=f"a list of {wanted} layers in it",
        do="Choose another model in recipe.writer.model",
    )


def _linear_names(model: Any, n_layers: int) -> list[str]:
    """Full names of the linear maps in the uppermost layers."""
    upper = decoder_layers(model)[-n_layers:]
    inside = {module for layer in upper for module in layer.modules()}
    kinds = (torch.nn.Linear, _transposed())
    return [name for name, module in model.named_modules() if isinstance(module, kinds) and module in inside]


def _transposed() -> type[torch.nn.Module]:
    """The linear map of GPT-2 and its kind, whose weights lie the other way round."""
    from transformers.pytorch_utils import Conv1D

    return Conv1D
