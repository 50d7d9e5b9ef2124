"""Records PEFT's loss and gradients on the tiny models, for Tests/RuntimeTests/Resources/tiny_lora.

With DoRA on one of them: what an output is multiplied by, magnitude over norm, is recorded as the factors are.

    python tiny_lora_gradients.py ../RuntimeTests/Resources/tiny ../RuntimeTests/Resources/tiny_lora

Rank 4, alpha 6, both factors random; three rows of 7, 40 and 19 tokens with some labels masked; the loss is
the sum over all targets. Needs torch, transformers, peft, safetensors.
"""
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
source, output = sys.argv[1:3]
os.makedirs(output, exist_ok=True)
for name in ("llama_plain_mha", "llama_rope3_gqa_tied", "llama_rope3_gqa_tied_dora"):
    torch.manual_seed(7)
    dora = name.endswith("_dora")
    model = AutoModelForCausalLM.from_pretrained(f"{source}/{name.removesuffix('_dora')}", dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, target_modules=targets, use_dora=dora))
    factors = {n: p for n, p in model.named_parameters() if p.requires_grad}
    for factor in factors.values():
        torch.nn.init.normal_(factor, std=0.1, mean=1 if factor.dim() == 1 else 0)
    tensors, loss = {}, 0.0
    for row, length in enumerate((7, 40, 19)):
        ids = torch.randint(3, 256, (length,))
        labels = ids.clone()
        labels[: length // 3] = -100
        labels[length // 2] = -100
        logits = model(input_ids=ids[None]).logits[0]
        loss = loss + torch.nn.functional.cross_entropy(
            logits[:-1], labels[1:], ignore_index=-100, reduction="sum")
        tensors[f"row{row}/input_ids"] = ids.to(torch.int32)
        tensors[f"row{row}/labels"] = labels.to(torch.int32)
    loss.backward()
    tensors["loss"] = loss.detach().reshape(1)
    norms = {}
    for n, module in model.named_modules():
        if dora and n.endswith("_proj"):
            update = module.get_delta_weight("default")
            norms[f"{n}.lora_magnitude_vector.default.weight"] = (module.weight + update).norm(dim=1).detach()
    for n, p in factors.items():
        if n in norms:
            key = n.removeprefix("base_model.model.").replace("lora_magnitude_vector.default.weight", "output_scale")
            tensors[key] = (p / norms[n]).detach().contiguous()
            tensors["grad/" + key] = (p.grad * norms[n]).contiguous()
            continue
        n = n.removeprefix("base_model.model.").replace(".default", "")
        tensors[n] = p.detach().contiguous()
        tensors["grad/" + n] = p.grad.contiguous()
    save_file(tensors, f"{output}/{name}.safetensors")
    print(name, loss.item())
