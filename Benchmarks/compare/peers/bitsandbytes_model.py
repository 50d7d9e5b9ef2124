"""An NF4 folder as transformers and bitsandbytes load it, set to compute in bf16."""

import bitsandbytes
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel


def load(folder: str) -> PreTrainedModel:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, device_map="cpu")
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # The folder's config.json may ask for fp32.
            module.compute_dtype = torch.bfloat16
            module.compute_type_is_set = True
    return model
