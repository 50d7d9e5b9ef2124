"""The sizes of the Llama models that are written with random weights, and where their numbers come from."""

import dataclasses
from collections.abc import Iterator

import numpy as np

DEVIATION = 0.02  # of every matrix's weights, as the models are initialised before training

SPECIAL_TOKENS = ["<unk>", "<s>", "</s>"]  # ids 0, 1, 2, as in Llama's vocabulary


@dataclasses.dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    positions: int
    vocabulary: int = 32000
    epsilon: float = 1e-5
    theta: float = 10000.0

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names as in a Hugging Face folder, and (rows, columns) of a matrix or (width,) of a norm."""
        key_value = self.key_value_heads * self.head_size
        yield "model.embed_tokens.weight", (self.vocabulary, self.hidden)
        for layer in range(self.layers):
            block = f"model.layers.{layer}"
            yield f"{block}.input_layernorm.weight", (self.hidden,)
            yield f"{block}.self_attn.q_proj.weight", (self.hidden, self.hidden)
            yield f"{block}.self_attn.k_proj.weight", (key_value, self.hidden)
            yield f"{block}.self_attn.v_proj.weight", (key_value, self.hidden)
            yield f"{block}.self_attn.o_proj.weight", (self.hidden, self.hidden)
            yield f"{block}.post_attention_layernorm.weight", (self.hidden,)
            yield f"{block}.mlp.gate_proj.weight", (self.intermediate, self.hidden)
            yield f"{block}.mlp.up_proj.weight", (self.intermediate, self.hidden)
            yield f"{block}.mlp.down_proj.weight", (self.hidden, self.intermediate)
        yield "model.norm.weight", (self.hidden,)
        yield "lm_head.weight", (self.vocabulary, self.hidden)


SHAPES = {
    "tinyllama-1.1b": Shape(
        hidden=2048, intermediate=5632, layers=22, heads=32, key_value_heads=4, positions=2048
    ),
    "llama-2-7b": Shape(
        hidden=4096, intermediate=11008, layers=32, heads=32, key_value_heads=32, positions=4096
    ),
    "llama-3-8b": Shape(
        hidden=4096, intermediate=14336, layers=32, heads=32, key_value_heads=8, positions=8192, vocabulary=128256,
        theta=500000.0
    ),
}


class Repeated:
    """A buffer of random items, read over and over, each tensor from another place.

    Drawing 7 G normals would take minutes. Neither a quantizer nor a product of matrices can tell that the
    values come round again: the length is a prime number, so no two rows of a matrix line up.
    """

    def __init__(self, items: np.ndarray, seed: int = 0):
        self.items = items
        self.random = np.random.default_rng(seed)

    def pieces(self, count: int) -> Iterator[np.ndarray]:
        """Views that are `count` items in all."""
        start = int(self.random.integers(len(self.items)))
        while count > 0:
            piece = self.items[start : start + count]
            yield piece
            count -= len(piece)
            start = 0


def normals(count: int) -> np.ndarray:
    """fp32 weights of DEVIATION."""
    values = np.random.default_rng(1).standard_normal(count, dtype=np.float32)
    return values * np.float32(DEVIATION)
