"""transformers + bitsandbytes load what `lorikeet quantize` wrote, and give the same logits."""

import torch
from transformers import AutoTokenizer

from interop import PROMPT, arguments, base, logits, require_close

options = arguments()
tokenizer = AutoTokenizer.from_pretrained(options.model)
ids = tokenizer(PROMPT)["input_ids"]
model = base(options)
kinds = {type(module).__name__ for name, module in model.named_modules() if name.endswith("q_proj")}
assert kinds == {"Linear4bit"}, kinds
with torch.no_grad():
    theirs = model(input_ids=torch.tensor([ids])).logits[0].float()
# 2e-3: fp32 sums of 30 blocks in another order; logits are about 20 in size.
require_close("logits of the quantized folder", logits(options, ids), theirs, 2e-3)
chat = [{"role": "user", "content": "Hello, who are you?"}]
text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
assert text.endswith("<|im_start|>assistant\n"), text
print("tokenizer and chat template: loaded")
