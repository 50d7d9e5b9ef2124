"""Writes one layer of each of the tiny models as llama.cpp's converter stores it, under its own names for tensors and
metadata, for Tests/RuntimeTests/Resources/checkpoints.

    python tiny_gguf.py ../RuntimeTests/Resources/tiny ../RuntimeTests/Resources/checkpoints

Matrices are F16, vectors F32; 1 is added to Gemma's norms. Needs gguf, numpy, safetensors.
"""
import json
import math
import sys

import gguf
import numpy as np
from safetensors.numpy import load_file

MODELS = {
    "qwen2_bias_tied": gguf.MODEL_ARCH.QWEN2,
    "qwen3_window": gguf.MODEL_ARCH.QWEN3,
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3": gguf.MODEL_ARCH.GEMMA3,
    "phi3_longrope": gguf.MODEL_ARCH.PHI3,
}
source, output = sys.argv[1:3]
for name, arch in MODELS.items():
    config = json.load(open(f"{source}/{name}/config.json"))
    writer = gguf.GGUFWriter(f"{output}/{name}_1layer.gguf", gguf.MODEL_ARCH_NAMES[arch])
    heads, width = config["num_attention_heads"], config["hidden_size"]
    head = config.get("head_dim") or width // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    rope = config["rope_parameters"]
    if name != "phi3_longrope":
        writer.add_key_length(head)
        writer.add_value_length(head)
    if name.startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])
    if name == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if name == "gemma3":
        writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["full_attention"]["factor"])
    else:
        writer.add_rope_freq_base(rope["rope_theta"])
    if name == "phi3_longrope":
        original = config["original_max_position_embeddings"]
        writer.add_rope_dimension_count(int(head * rope["partial_rotary_factor"]))
        writer.add_sliding_window(config["sliding_window"])
        writer.add_rope_scaling_orig_ctx_len(original)
        stretch = config["max_position_embeddings"] / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(stretch) / math.log(original)))
        for kind in ("long", "short"):
            writer.add_tensor(f"rope_factors_{kind}.weight", np.array(rope[f"{kind}_factor"], dtype=np.float32))
    names = gguf.get_tensor_name_map(arch, 1)
    for key, tensor in load_file(f"{source}/{name}/model.safetensors").items():
        # llama.cpp knows no bias of Qwen 3.
        if ".layers.1." in key or (name == "qwen3_window" and key.endswith("bias")):
            continue
        if name.startswith("gemma") and key.endswith("norm.weight"):
            tensor = tensor + 1
        tensor = tensor.astype(np.float16 if tensor.ndim == 2 else np.float32)
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
