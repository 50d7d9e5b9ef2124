"""PEFT loads an adapter that `lorikeet train` wrote, and gives the same logits."""

import torch
from peft import PeftModel
from transformers import AutoTokenizer

from interop import PROMPT, arguments, base, lorikeet, logits, require_close

options = arguments()
adapter = options.work / "adapter"
lorikeet(
    options, "train", "--model", options.model, "--data", "Examples/pirate.jsonl", "--output", adapter, "--force",
    "--method", "reflora", "--steps", "8", "--batch-size", "4", "--rank", "8", "--learning-rate", "1e-3",
)
ids = AutoTokenizer.from_pretrained(options.model)(PROMPT)["input_ids"]
model = PeftModel.from_pretrained(base(options), adapter)
count = sum(1 for name, _ in model.named_modules() if name.endswith("lora_A.default"))
assert count == 210, f"{count} modules instead of 30 blocks of 7"
with torch.no_grad():
    theirs = model(input_ids=torch.tensor([ids])).logits[0].float()
    with model.disable_adapter():
        plain = model(input_ids=torch.tensor([ids])).logits[0].float()
assert (theirs - plain).abs().max() > 0.1, "the adapter changes nothing"
require_close("logits with the adapter (PEFT folder)", logits(options, ids, "--adapter", adapter), theirs, 2e-3)
