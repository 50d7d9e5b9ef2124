"""The sizes of the models that are written with random weights, and where their numbers come from."""

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

    def configuration(self) -> dict[str, object]:
        """config.json"""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "head_dim": self.head_size,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.positions,
            "mlp_bias": False,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.key_value_heads,
            "pretraining_tp": 1,
            "rms_norm_eps": self.epsilon,
            "rope_theta": self.theta,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": self.vocabulary,
        }


@dataclasses.dataclass(frozen=True)
class DebertaShape:
    """DeBERTaV3 with a classifier of two classes."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    buckets: int
    positions: int
    vocabulary: int

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        def linear(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, tuple[int, ...]]]:
            yield f"{name}.weight", (outputs, inputs)
            yield f"{name}.bias", (outputs,)

        def norm(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
            yield f"{name}.weight", (self.hidden,)
            yield f"{name}.bias", (self.hidden,)

        yield "deberta.embeddings.word_embeddings.weight", (self.vocabulary, self.hidden)
        yield from norm("deberta.embeddings.LayerNorm")
        yield "deberta.encoder.rel_embeddings.weight", (2 * self.buckets, self.hidden)
        yield from norm("deberta.encoder.LayerNorm")
        for layer in range(self.layers):
            block = f"deberta.encoder.layer.{layer}"
            for name in ("query", "key", "value"):
                yield from linear(f"{block}.attention.self.{name}_proj", self.hidden, self.hidden)
            yield from linear(f"{block}.attention.output.dense", self.hidden, self.hidden)
            yield from norm(f"{block}.attention.output.LayerNorm")
            yield from linear(f"{block}.intermediate.dense", self.hidden, self.intermediate)
            yield from linear(f"{block}.output.dense", self.intermediate, self.hidden)
            yield from norm(f"{block}.output.LayerNorm")
        yield from linear("pooler.dense", self.hidden, self.hidden)
        yield from linear("classifier", self.hidden, 2)

    def configuration(self) -> dict[str, object]:
        """config.json"""
        return {
            "architectures": ["DebertaV2ForSequenceClassification"],
            "model_type": "deberta-v2",
            "attention_probs_dropout_prob": 0.0,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate,
            "layer_norm_eps": 1e-7,
            "max_position_embeddings": self.positions,
            "max_relative_positions": -1,
            "norm_rel_ebd": "layer_norm",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "pad_token_id": 0,
            "pooler_dropout": 0,
            "pooler_hidden_act": "gelu",
            "pooler_hidden_size": self.hidden,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "position_buckets": self.buckets,
            "relative_attention": True,
            "share_att_key": True,
            "torch_dtype": "bfloat16",
            "type_vocab_size": 0,
            "vocab_size": self.vocabulary,
        }


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
    "deberta-v3-base": DebertaShape(
        hidden=768, intermediate=3072, layers=12, heads=12, buckets=256, positions=512, vocabulary=128100
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
