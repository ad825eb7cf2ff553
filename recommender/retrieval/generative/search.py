"""Beam search along the trie: only semantic ids that exist, and only those that lead to an allowed item."""

from __future__ import annotations

import torch

from recommender.inputs.ids import PADDING
from recommender.retrieval.generative.model import GenerativeModel


@torch.inference_mode()
def search(
    model: GenerativeModel, history: torch.Tensor, width: int, allowed: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write the most probable items of each history.

    A prefix stays in the beam only if an allowed item lies below it. So every beam ends at an allowed item, and a user
    with n allowed items gets min(width, n) of them: as long as no prefix was cut for want of space all of them are in
    reach, and from then on the beam is full.

    Args:
        model: In evaluation mode, on the device of what it is given.
        history: Item indices, oldest first, right-padded with 0. Shape (B, T), int64.
        width: Prefixes kept at every level.
        allowed: By item index less one; None allows all. Shape (B, n_items), bool.
    Returns:
        Item indices, most probable first, 0 where fewer are allowed, and their log probabilities, -inf there.
        Shapes (B, width).
    """
    trie, n = model.trie, len(history)
    running = None if allowed is None else trie.running_counts(allowed)
    states = model.last_states(history)
    codes = history.new_zeros(n, 1, 0)  # (B, W, level)
    nodes, scores = history.new_zeros(n, 1), states.new_zeros(n, 1, dtype=torch.float32)  # (B, W)
    for level in range(trie.n_levels):
        kept = nodes.shape[1]
        repeated = states.repeat_interleave(kept, dim=0)
        decoded = model.decode(repeated, codes.flatten(0, 1))[:, -1]
        following = model.log_probabilities(level, decoded, nodes.flatten())  # (B * W, M)
        children = trie.followers(level, nodes).flatten(1)  # (B, W * M)
        candidates = (scores.unsqueeze(2) + following.view(n, kept, -1)).flatten(1)
        if running is not None:
            candidates = candidates.masked_fill(trie.counts_below(level, children, running) == 0, -torch.inf)
        scores, places = candidates.topk(min(width, candidates.shape[1]), dim=1)
        # A beam without a prefix left stands at any node, at -inf, and stays there.
        nodes = children.gather(1, places).clamp(min=0)
        parents = (places // following.shape[1]).unsqueeze(2).expand(-1, -1, level)
        codes = torch.cat([codes.gather(1, parents), trie.codes[level][nodes].unsqueeze(2)], dim=2)
    items = trie.items[nodes].masked_fill(scores == -torch.inf, PADDING)
    short = width - items.shape[1]
    return (
        torch.nn.functional.pad(items, (0, short), value=PADDING),
        torch.nn.functional.pad(scores, (0, short), value=-torch.inf),
    )
