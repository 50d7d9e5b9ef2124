"""PEFT loads the adapters that `lorikeet train` wrote, and gives the same logits."""

import torch
from peft import PeftModel
from transformers import AutoTokenizer

from interop import PROMPT, arguments, base, lorikeet, logits, require_close

options = arguments()
ids = AutoTokenizer.from_pretrained(options.model)(PROMPT)["input_ids"]
model = None
# reflora stands for all that save two full factors; AdaLoRA saves ranks by layer, LoRA-FA another A.
for method, rate in (("reflora", "1e-3"), ("lora-fa", "1e-3"), ("adalora", "2e-2")):
    adapter = options.work / method
    lorikeet(
        options, "train", "--model", options.model, "--data", "Examples/pirate.jsonl", "--output", adapter, "--force",
        "--method", method, "--steps", "8", "--batch-size", "4", "--rank", "8", "--learning-rate", rate,
    )
    if model is None:
        model = PeftModel.from_pretrained(base(options), adapter, adapter_name=method)
    else:
        model.load_adapter(adapter, adapter_name=method)
    model.set_adapter(method)
    model.train()  # loading switched to eval mode, in which bitsandbytes may compute in bf16 (see base)
    count = sum(1 for name, _ in model.named_modules() if name.endswith(f"lora_A.{method}"))
    assert count == 210, f"{count} modules instead of 30 blocks of 7"
    with torch.no_grad():
        theirs = model(input_ids=torch.tensor([ids])).logits[0].float()
        with model.disable_adapter():
            plain = model(input_ids=torch.tensor([ids])).logits[0].float()
    assert (theirs - plain).abs().max() > 0.1, "the adapter changes nothing"
    ours = logits(options, ids, "--adapter", adapter)
    require_close(f"logits with the adapter of {method} (PEFT folder)", ours, theirs, 2e-3)
