"""Language models that write a picture as tokens, before anything is painted."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteriaList


class Writer:
    """A shared network that writes, and says so between two tokens; it can be stopped there."""

    def __init__(self, network: Any, between: Callable[[int], None]) -> None:
        """`between` hears how many tokens there are, and may raise."""
        self._network = network
        self._between = between
        self._written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def generate(self, **options: Any) -> Any:
        self._written = 0
        return self._network.generate(
            **options, stopping_criteria=StoppingCriteriaList([self._pause])
        )

    def _pause(self, tokens: Tensor, scores: Any, **_: Any) -> Tensor:
        self._written += 1
        self._between(self._written)
        return torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
