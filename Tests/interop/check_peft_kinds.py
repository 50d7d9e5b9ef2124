"""Adapters of every kind that PEFT saves: Lorikeet gives PEFT's logits, or names the kind and the key that it refuses.

The base is the default model, which `lorikeet export` writes as a plain folder of fp32 for PEFT. Factors are random.
"""

import subprocess

import peft
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from interop import PROMPT, arguments, float_folder, lorikeet, logits, randomize, require_close

options = arguments()
ids = AutoTokenizer.from_pretrained(options.model)(PROMPT)["input_ids"]
floats = float_folder(options)


def load():
    return AutoModelForCausalLM.from_pretrained(floats, dtype=torch.float32).eval()


def forward(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


plain = forward(load())
require_close("the plain folder", logits(options, ids), plain, 1e-3)

TWO = ["q_proj", "down_proj"]
KINDS = {
    # layers.1 is no prefix of layers.10 to layers.19; the first pattern that matches counts.
    "rank_pattern, alpha_pattern": dict(
        target_modules=TWO,
        rank_pattern={"layers.1.self_attn.q_proj": 2, r"layers\.\d\.mlp\.down_proj": 3, "q_proj": 5},
        alpha_pattern={"^model.layers.1.mlp.down_proj": 40, "model.layers.2.self_attn.q_proj": 3, "down_proj": 11},
    ),
    "use_rslora": dict(target_modules=TWO, use_rslora=True, rank_pattern={"down_proj": 3}),
    "use_dora": dict(target_modules=TWO, use_dora=True),
    "use_dora, use_rslora, rank_pattern": dict(
        target_modules="all-linear", use_dora=True, use_rslora=True, rank_pattern={"k_proj": 3}
    ),
    "fan_in_fan_out": dict(target_modules=TWO, fan_in_fan_out=True),
    "layers_to_transform": dict(target_modules=TWO, layers_to_transform=[1, 10, 29]),
    "layers_to_transform, one": dict(target_modules=TWO, layers_to_transform=1),
    "layers_pattern": dict(target_modules=TWO, layers_to_transform=[1, 11], layers_pattern="layers"),
    "layers_pattern, two": dict(target_modules=TWO, layers_to_transform=[2], layers_pattern=["h", "layers"]),
    "a regular expression": dict(target_modules=r".*layers\.1\.(self_attn\.(q|v)_proj|mlp\.up_proj)"),
    "all-linear": dict(target_modules="all-linear"),
    "full names": dict(target_modules=["model.layers.1.self_attn.q_proj", "layers.10.mlp.gate_proj"]),
    "exclude_modules": dict(target_modules=TWO, exclude_modules=["layers.1.self_attn.q_proj", "layers.2.mlp.down_proj"]),
    "exclude_modules, an expression": dict(target_modules=TWO, exclude_modules=r".*\.(1|2\d)\..*"),
    # A Llama has no biases: there is nothing to train or save.
    "bias all": dict(target_modules=TWO, bias="all"),
    "bias lora_only": dict(target_modules=TWO, bias="lora_only"),
    # The base ties its output projection to the embedding; each of these unties it.
    "modules_to_save, lm_head": dict(target_modules=TWO, modules_to_save=["lm_head"]),
    "modules_to_save, embed_tokens": dict(target_modules=TWO, modules_to_save=["embed_tokens"]),
    "modules_to_save, all three": dict(
        target_modules="all-linear", use_dora=True, modules_to_save=["embed_tokens", "lm_head", "model.norm"]
    ),
    "modules_to_save, ensure_weight_tying": dict(
        target_modules=TWO, modules_to_save=["embed_tokens"], ensure_weight_tying=True
    ),
    "init orthogonal": dict(target_modules=TWO, init_lora_weights="orthogonal"),
    "init gaussian": dict(target_modules=TWO, init_lora_weights="gaussian"),
}
worst = 0.0
for seed, (kind, settings) in enumerate(KINDS.items()):
    name = "layers" if kind == "all-linear" else "q_proj" if kind == "full names" else "default"
    model = randomize(get_peft_model(load(), LoraConfig(**{"r": 4, "lora_alpha": 16, **settings}), name), seed).eval()
    theirs = forward(model)
    assert (theirs - plain).abs().max() > 0.1, f"{kind}: the adapter changes nothing"
    folder = options.work / f"kind-{seed}"
    model.save_pretrained(folder)
    ours = logits(options, ids, "--adapter", folder if name == "default" else folder / name)
    require_close(kind, ours, theirs, 1e-3)
    worst = max(worst, (ours - theirs).abs().max().item())
print(f"{len(KINDS)} kinds: largest difference of all {worst:.2e}")

REFUSED = {
    "lora_bias": LoraConfig(target_modules=TWO, lora_bias=True),
    # Every module whose name ends so, those of the blocks too.
    "modules_to_save": LoraConfig(target_modules=TWO, modules_to_save=["norm"]),
    "trainable_token_indices": LoraConfig(target_modules=TWO, trainable_token_indices=[3, 4]),
    "lm_head": LoraConfig(target_modules=["q_proj", "lm_head"]),
    "embed_tokens": LoraConfig(target_modules=["q_proj", "embed_tokens"]),
    "init_lora_weights": LoraConfig(target_modules=TWO, init_lora_weights="pissa_niter_4"),
    "IA3": peft.IA3Config(target_modules=["k_proj", "v_proj"], feedforward_modules=[]),
    "LOHA": peft.LoHaConfig(target_modules=TWO),
    "LOKR": peft.LoKrConfig(target_modules=TWO),
    "VERA": peft.VeraConfig(target_modules=["q_proj"], r=16),
    "ADALORA": peft.AdaLoraConfig(target_modules=TWO, total_step=10),
    "OFT": peft.OFTConfig(target_modules=["q_proj"], oft_block_size=32, r=0),
    "FOURIERFT": peft.FourierFTConfig(target_modules=["q_proj"], n_frequency=20),
    "LN_TUNING": peft.LNTuningConfig(target_modules=["norm"]),
    "HRA": peft.HRAConfig(target_modules=["q_proj"]),
    "PROMPT_TUNING": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
    "PREFIX_TUNING": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}
for index, (key, configuration) in enumerate(REFUSED.items()):
    model = randomize(get_peft_model(load(), configuration), index)
    folder = options.work / f"refused-{index}"
    model.save_pretrained(folder)
    outcome = subprocess.run(
        [options.lorikeet, "logits", "--model", options.model, "--tokens", "1", "--adapter", folder, "--output",
         options.work / "never.safetensors"],
        capture_output=True, text=True,
    )
    assert outcome.returncode == 1, f"{key}: {outcome}"
    assert key in outcome.stderr, f"{key}: {outcome.stderr}"
    print(f"{key}: {outcome.stderr.strip()}")
