"""Puts fp64 gradients into Tests/RuntimeTests/Resources/smollm2_training_step.safetensors.

    python training_step_fp64.py NF4_MODEL_FOLDER smollm2_training_step.safetensors

The file holds input_ids [4, 64] and `NAME.lora_A.weight` of some layers; B is 0, rank 8, scale 2, the loss the mean
over all targets. `grad/NAME.lora_B.weight` is written: the NF4 weights are dequantized to fp32 as
bitsandbytes does it, and everything after that is fp64. Needs torch, transformers, bitsandbytes.
"""
import sys

import bitsandbytes as bnb
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
folder, path = sys.argv[1:3]
tensors = load_file(path)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, device_map="cpu")


class LoRA(nn.Module):
    def __init__(self, base, a):
        super().__init__()
        self.base, self.a = base, a.double()
        self.b = nn.Parameter(torch.zeros(base.out_features, a.shape[0], dtype=torch.float64))

    def forward(self, x):
        return self.base(x) + 2 * (x @ self.a.T) @ self.b.T


def dequantize(module):
    for name, child in list(module.named_children()):
        if isinstance(child, bnb.nn.Linear4bit):
            weight = bnb.functional.dequantize_4bit(child.weight.data, child.weight.quant_state)
            linear = nn.Linear(child.in_features, child.out_features, bias=False)
            linear.weight = nn.Parameter(weight.reshape(linear.weight.shape).float())
            setattr(module, name, linear)
        else:
            dequantize(child)


dequantize(model)
model = model.double().requires_grad_(False)
layers = {}
for name in [n for n in tensors if n.endswith(".lora_A.weight")]:
    layer = name.removesuffix(".lora_A.weight")
    parent, leaf = layer.rsplit(".", 1)
    parent = model.get_submodule(parent)
    layers[layer] = LoRA(getattr(parent, leaf), tensors[name])
    setattr(parent, leaf, layers[layer])
ids = tensors["input_ids"].long()
logits = model(input_ids=ids).logits
loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
loss.backward()
for layer, lora in layers.items():
    tensors[f"grad/{layer}.lora_B.weight"] = lora.b.grad.float().contiguous()
save_file(tensors, path)
print("loss", loss.item())
