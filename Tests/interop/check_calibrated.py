"""transformers + bitsandbytes load what `lorikeet quantize --calibrate` wrote, and give a text the same perplexity."""

import math
import pathlib

import torch
from transformers import AutoTokenizer

from interop import arguments, base, lorikeet, lorikeet_json

CONTEXT = 512
FLOATS = pathlib.Path("models/cache/SmolLM2-135M-Instruct.Q4_1.gguf")
# Genesis where it is at hand, for the figures in docs/quantize.md; else a text of the project's own.
TEXTS = [pathlib.Path("../shared/data/text/genesis.txt"), pathlib.Path("Sources/Adapters/Calibration/calibration-text.txt")]

options = arguments()
text = next(path for path in TEXTS if path.exists())
for quality in ["scales", "gptq"]:
    options.model = str(options.work / quality)
    lorikeet(
        options, "quantize", FLOATS, "--output", options.model, "--calibrate", "default", "--quality", quality,
        "--calibration-windows", 32)
    ours = lorikeet_json(
        options, "perplexity", "--model", options.model, "--text", text, "--context", CONTEXT, "--precision", "fp32")
    ids = AutoTokenizer.from_pretrained(options.model)(text.read_text(), add_special_tokens=False)["input_ids"]
    model = base(options)
    loss, tokens = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(ids) - CONTEXT + 1, CONTEXT):
            window = torch.tensor([ids[start : start + CONTEXT]])
            loss += model(input_ids=window, labels=window).loss.item() * (CONTEXT - 1)
            tokens += CONTEXT - 1
    theirs = math.exp(loss / tokens)
    print(f"{quality}: perplexity {ours['perplexity']:.4f}, in bitsandbytes {theirs:.4f}, {tokens} tokens of {text.name}")
    assert ours["tokens"] == tokens, (ours["tokens"], tokens)
    # fp32 sums in another order move the mean loss by far less than 1e-3.
    assert abs(ours["perplexity"] - theirs) < 0.02, (ours["perplexity"], theirs)
