"""Records which modules, ranks and scales PEFT gives to settings of every kind: Tests/AdaptersTests/Resources/peft_terms.json.

    python Tests/interop/peft_terms.py > Tests/AdaptersTests/Resources/peft_terms.json
"""

import json

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

# Twelve blocks: layers.1 is a prefix of layers.10 and layers.11.
TWO = ["q_proj", "down_proj"]
SETTINGS = {
    "patterns": dict(
        target_modules=TWO,
        rank_pattern={"layers.1.self_attn.q_proj": 2, r"layers\.\d\.mlp\.down_proj": 3, "q_proj": 5},
        alpha_pattern={"^model.layers.1.mlp.down_proj": 40, "model.layers.2.self_attn.q_proj": 3, "down_proj": 11},
    ),
    "a pattern of a block": dict(target_modules="all-linear", rank_pattern={r"layers\.1\..*": 3, "1.*": 6}),
    "use_rslora": dict(target_modules=TWO, use_rslora=True, rank_pattern={"down_proj": 3}, alpha_pattern={"q_proj": 5}),
    "layers_to_transform": dict(target_modules=TWO, layers_to_transform=[1, 10]),
    "one layer": dict(target_modules=TWO, layers_to_transform=1),
    "layer 0": dict(target_modules=TWO, layers_to_transform=0),
    "layers_pattern": dict(target_modules=TWO, layers_to_transform=[1, 11], layers_pattern="layers"),
    "two layers_patterns": dict(target_modules=TWO, layers_to_transform=[2], layers_pattern=["h", "layers"]),
    "a regular expression": dict(target_modules=r".*layers\.1\.(self_attn\.(q|v)_proj|mlp\.up_proj)"),
    "an expression of one block": dict(target_modules=r"model\.layers\.[19]\..*_proj"),
    "full names": dict(target_modules=["model.layers.1.self_attn.q_proj", "layers.10.mlp.gate_proj"]),
    "a block's number": dict(target_modules=["1.self_attn.q_proj"]),
    "exclude_modules": dict(target_modules=TWO, exclude_modules=["layers.1.self_attn.q_proj", "layers.2.mlp.down_proj"]),
    "an expression of exclusion": dict(target_modules=TWO, exclude_modules=r".*\.(1|1\d)\..*"),
    "all-linear but some": dict(target_modules="all-linear", exclude_modules=["k_proj"]),
}
KEYS = [
    "r", "lora_alpha", "target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "use_rslora",
    "layers_to_transform", "layers_pattern",
]

cases = []
for name, settings in SETTINGS.items():
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(
            vocab_size=8, hidden_size=16, intermediate_size=24, num_hidden_layers=12, num_attention_heads=2))
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=16, **settings))
    saved = model.peft_config["default"].to_dict()
    terms = {
        module.removeprefix("base_model.model."): {"rank": layer.r["default"], "scale": layer.scaling["default"]}
        for module, layer in model.named_modules() if hasattr(layer, "lora_A") and layer.lora_A
    }
    configuration = {key: sorted(saved[key]) if isinstance(saved[key], set) else saved[key] for key in KEYS}
    cases.append({"name": name, "configuration": configuration, "terms": terms})
print(json.dumps(cases, indent=1))
