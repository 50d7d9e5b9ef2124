"""DoRA both ways: PEFT loads what `lorikeet train` wrote, and Lorikeet what PEFT saved, with the same logits."""

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoTokenizer

from interop import PROMPT, arguments, base, lorikeet, logits, require_close

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

options = arguments()
ids = AutoTokenizer.from_pretrained(options.model)(PROMPT)["input_ids"]


def compare(name, model, adapter):
    # In eval mode, where PEFT puts what it loads, bitsandbytes repacks the weights that DoRA dequantizes.
    model.train()
    magnitudes = [p for n, p in model.named_parameters() if "lora_magnitude_vector" in n]
    assert len(magnitudes) == 210, f"{len(magnitudes)} magnitudes instead of 30 blocks of 7"
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([ids])).logits[0].float()
        with model.disable_adapter():
            plain = model(input_ids=torch.tensor([ids])).logits[0].float()
    assert (theirs - plain).abs().max() > 0.1, "the adapter changes nothing"
    require_close(name, logits(options, ids, "--adapter", adapter), theirs, 2e-3)


adapter = options.work / "dora"
lorikeet(
    options, "train", "--model", options.model, "--data", "Examples/pirate.jsonl", "--output", adapter, "--force",
    "--method", "dora", "--steps", "8", "--batch-size", "4", "--rank", "8", "--learning-rate", "1e-3",
)
compare("logits with our DoRA adapter", PeftModel.from_pretrained(base(options), adapter), adapter)
compare("logits with its bundle", PeftModel.from_pretrained(base(options), adapter), adapter / "dora.lorikeet")

torch.manual_seed(0)
model = get_peft_model(base(options), LoraConfig(r=8, lora_alpha=16, target_modules=MODULES, use_dora=True))
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.01)
        elif "lora_magnitude_vector" in name:
            parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
model.save_pretrained(options.work / "peft-dora")
compare("logits with PEFT's DoRA adapter", model, options.work / "peft-dora")
