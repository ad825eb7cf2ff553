"""Reads pretrained models, one at a time in a process."""

from __future__ import annotations

import threading

# To be held while transformers makes a model: meanwhile it sets, for the whole process, the default type of numbers and
# how weights begin. Of two models that are made at once the second would put back what the first had set, for good.
MAKING_A_MODEL = threading.Lock()
