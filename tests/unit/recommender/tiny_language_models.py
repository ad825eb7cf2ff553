"""Random language models of a few thousand weights, as a hub, a package or a GGUF file holds real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

TEXTS = ["I love this fruity kettle, and so does my mother.", "Do not buy this smoky grinder!", "malty teapot whisk"]
START, END = "<|im_start|>", "<|im_end|>"
CHAT = (
    "{% for message in messages %}" + START + "{{ message['role'] }}\n{{ message['content'] }}" + END + "\n{% endfor %}"
    "{% if add_generation_prompt %}" + START + "assistant\n{% endif %}"
)
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
POSITIONS = 256
# Wider than that of large models: the frozen vectors of so few dimensions could not say what is likely otherwise.
SPREAD = 0.2


def tiny_tokenizer(chat: bool = True, texts: list[str] = TEXTS) -> Any:
    """A byte-level BPE tokenizer, with or without a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=[START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    template = CHAT if chat else None
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=END, pad_token=END, chat_template=template
    )


def write_llama(
    folder: Path, chat: bool = True, seed: int = 0, texts: list[str] = TEXTS, positions: int = POSITIONS
) -> Path:
    """A random Llama of four layers."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer(chat, texts)
    config = LlamaConfig(
        **LLAMA,
        vocab_size=len(tokenizer) + 6,  # as real models do: scores for more tokens than there are
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
        initializer_range=SPREAD,
    )
    return _write(folder, LlamaForCausalLM, config, tokenizer, seed)


def write_gpt2(folder: Path, seed: int = 0, texts: list[str] = TEXTS) -> Path:
    """A random GPT-2 of three layers, whose tokenizer knows no chat."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tiny_tokenizer(False, texts)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=POSITIONS,
        n_embd=32,
        n_layer=3,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        initializer_range=SPREAD,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return _write(folder, GPT2LMHeadModel, config, tokenizer, seed)


def write_gguf(file: Path, seed: int = 0) -> Path:
    """A random Llama of one layer as GGUF, in 16 bits."""
    from gguf import GGUFWriter

    tokenizer, random, width = tiny_tokenizer(), np.random.default_rng(seed), LLAMA["hidden_size"]
    pieces = tokenizer.get_vocab()
    writer = GGUFWriter(str(file), "llama")
    writer.add_vocab_size(len(pieces))
    writer.add_context_length(POSITIONS)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(LLAMA["intermediate_size"])
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(width // 4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(pieces, key=pieces.__getitem__))
    writer.add_token_types([3 if piece in (START, END) else 1 for piece in sorted(pieces, key=pieces.__getitem__)])
    writer.add_token_merges([" ".join(pair) for pair in _merges(tokenizer)])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(CHAT)
    half = LLAMA["intermediate_size"]
    shapes = {
        "token_embd": (len(pieces), width),
        "output_norm": (width,),
        "blk.0.attn_norm": (width,),
        "blk.0.ffn_norm": (width,),
        "blk.0.attn_q": (width, width),
        "blk.0.attn_k": (width // 2, width),
        "blk.0.attn_v": (width // 2, width),
        "blk.0.attn_output": (width, width),
        "blk.0.ffn_gate": (half, width),
        "blk.0.ffn_up": (half, width),
        "blk.0.ffn_down": (width, half),
    }
    for name, shape in shapes.items():
        values = random.normal(size=shape).astype(np.float16 if len(shape) > 1 else np.float32)
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _merges(tokenizer: Any) -> list[list[str]]:
    import json

    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in merges]


def _write(folder: Path, kind: Any, config: Any, tokenizer: Any, seed: int) -> Path:
    torch.manual_seed(seed)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
