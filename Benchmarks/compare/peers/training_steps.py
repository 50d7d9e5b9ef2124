"""Times the steps of a training run, the first of which warms up."""

import statistics
import time
from collections.abc import Callable

import torch

from memory import peak_bytes


def measure(model: torch.nn.Module, losses: Callable[[], torch.Tensor], *, steps: int, tokens: int, before: int) -> dict[str, object]:
    """`losses` computes a step's loss; `tokens` are a step's, `before` the bytes that were resident at first."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    samples = []
    for _ in range(1 + steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = losses()
        loss.backward()
        optimizer.step()
        samples.append(time.perf_counter() - start)
    return {
        "tokens_per_second": tokens / statistics.median(samples[1:]),
        "step_seconds": samples,
        "loss": loss.item(),
        "interpreter_bytes": before,
        "peak_memory_bytes": peak_bytes(),
    }
