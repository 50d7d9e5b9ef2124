"""Writes adapters with random factors on all linear layers, as a PEFT folder and as a GGUF file with the same numbers."""

import json
import pathlib

import gguf
import numpy as np
from safetensors.numpy import save_file

from shape_gguf import NAMES

SCALE = 8e-2  # of B: large enough to change answers, small enough to leave them text


def modules(configuration: dict) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of a block's linear layers."""
    hidden, inner = configuration["hidden_size"], configuration["intermediate_size"]
    heads = configuration["num_attention_heads"]
    size = configuration.get("head_dim") or hidden // heads
    queries, keys = heads * size, configuration["num_key_value_heads"] * size
    return {
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (hidden, queries),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }


def write(model: pathlib.Path, rank: int, seed: int, folder: pathlib.Path, file: pathlib.Path) -> None:
    """An adapter for the Hugging Face folder `model`; what is there already is left."""
    if folder.exists() and file.exists():
        return
    configuration = json.loads((model / "config.json").read_text(encoding="utf-8"))
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(rank))
    factors = {}
    for layer in range(configuration["num_hidden_layers"]):
        for name, (outputs, inputs) in modules(configuration).items():
            a = (random.standard_normal((rank, inputs)) / np.sqrt(inputs)).astype(np.float32)
            b = (SCALE * random.standard_normal((outputs, rank))).astype(np.float32)
            prefix = f"base_model.model.model.layers.{layer}.{name}"
            factors[f"{prefix}.lora_A.weight"], factors[f"{prefix}.lora_B.weight"] = a, b
            target = f"blk.{layer}.{NAMES[name]}.weight"
            # As convert_lora_to_gguf.py leaves them by default.
            writer.add_tensor(f"{target}.lora_a", a.astype(np.float16))
            writer.add_tensor(f"{target}.lora_b", b.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(factors, folder / "adapter_model.safetensors")
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "target_modules": sorted({name.split(".")[-1] for name in modules(configuration)}),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter, indent=1), encoding="utf-8")
