"""Writes a shape as a GGUF file in the types that llama.cpp's quantizer gives to a Q4_0 file."""

import math
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as GGML

from model_shape import DEVIATION, SPECIAL_TOKENS, Repeated, Shape, normals

POOL_BLOCKS = {GGML.Q4_0: 524_287, GGML.Q6_K: 65_521}  # primes; 9 and 13 MiB

# A norm's last part is "norm.weight" on both sides; matrices by the last part of their Hugging Face name.
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(shape: Shape, path: pathlib.Path) -> None:
    """Streams the file: a tensor is never whole in memory twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    add_metadata(writer, shape)
    tensors = [(gguf_name(name), dimensions) for name, dimensions in shape.tensors()]
    for name, dimensions in tensors:
        kind = tensor_type(name, dimensions)
        bytes_shape = gguf.quant_shape_to_byte_shape(dimensions, kind)
        size = math.prod(bytes_shape)
        if kind == GGML.F32:
            writer.add_tensor_info(name, dimensions, np.dtype(np.float32), size)
        else:
            writer.add_tensor_info(name, bytes_shape, np.dtype(np.uint8), size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    pools = {GGML.Q4_0: Repeated(q4_0_blocks()), GGML.Q6_K: Repeated(q6_k_blocks())}
    for name, dimensions in tensors:
        kind = tensor_type(name, dimensions)
        if kind == GGML.F32:
            writer.write_tensor_data(np.ones(dimensions, dtype=np.float32))
        else:
            weights_per_block, _ = gguf.GGML_QUANT_SIZES[kind]
            pieces = pools[kind].pieces(math.prod(dimensions) // weights_per_block)
            writer.write_tensor_data(np.concatenate(list(pieces)))
    writer.close()
    print(f"{path}: {len(tensors)} tensors", flush=True)


def gguf_name(name: str) -> str:
    """The name that llama.cpp has for a tensor of a Hugging Face folder."""
    stem = name.removesuffix(".weight")
    if not stem.startswith("model.layers."):
        return NAMES[stem] + ".weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[part]}.weight"


def tensor_type(name: str, dimensions: tuple[int, ...]) -> GGML:
    if len(dimensions) == 1:
        return GGML.F32
    return GGML.Q6_K if name == "output.weight" else GGML.Q4_0


def add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """The shape, and a vocabulary of bytes and of words that no text is split into."""
    writer.add_name("random weights")
    writer.add_context_length(shape.positions)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.theta)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)

    tokens = SPECIAL_TOKENS + [f"<0x{byte:02X}>" for byte in range(256)]
    kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * 256
    words = range(len(tokens), shape.vocabulary)
    tokens += [f"w{number}" for number in words]
    kinds += [gguf.TokenType.NORMAL] * len(words)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


def q4_0_blocks() -> np.ndarray:
    """(blocks, 18) bytes: quantized normals."""
    weights = normals(POOL_BLOCKS[GGML.Q4_0] * 32).reshape(-1, 32)
    return gguf.quants.quantize(weights, GGML.Q4_0)


def q6_k_blocks() -> np.ndarray:
    """(blocks, 210) bytes: 192 of codes, 16 of scales, an fp16 scale of the scales.

    The codes are drawn evenly from -32 to 31, a deviation of 18.5; the scales make DEVIATION of that.
    """
    random = np.random.default_rng(2)
    blocks = random.integers(0, 256, (POOL_BLOCKS[GGML.Q6_K], 210), dtype=np.uint8)
    blocks[:, 192:208] = 64
    blocks[:, 208:] = np.array([DEVIATION / 18.5 / 64], dtype=np.float16).view(np.uint8)
    return blocks
