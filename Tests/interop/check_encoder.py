"""transformers and bitsandbytes load the encoder that `lorikeet quantize` wrote, and PEFT the adapters that
`lorikeet train --task` trains over it, head and all: the same judgements.

Needs the encoder of `models/fetch minilm`; without it nothing is checked.
"""

import json
import pathlib
import subprocess
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from interop import arguments, lorikeet

TEXTS = ["The pirate sings a song.", "Ships are built of wood.", "Who goes there?"]

options = arguments()
source = pathlib.Path("models/cache/all-MiniLM-L6-v2")
if not source.is_dir():
    print("left out: there is no", source, "(models/fetch minilm)")
    sys.exit()
quantized = options.work / "minilm-nf4"
lorikeet(options, "quantize", source, "--output", quantized, "--force")
table = options.work / "table.tsv"
rows = [f"The pirate sings song {i}.\tThe sea\tyes\t{i % 5}" for i in range(32)]
rows += [f"The farmer sells {i} eggs.\tThe market\tno\t{-(i % 3)}" for i in range(32)]
table.write_text("a\tb\tlabel\tscore\n" + "\n".join(rows) + "\n")
torch.set_num_threads(2)
for base in (source, quantized):
    for method, task, texts in (
        ("lora", "classification", "a"), ("dora", "classification", "a,b"), ("reflora", "regression", "a"),
    ):
        adapter = options.work / f"encoder-{method}"
        lorikeet(
            options, "train", "--model", base, "--task", task, "--text-columns", texts, "--label-column",
            "label" if task == "classification" else "score", "--data", table, "--output", adapter, "--force",
            "--method", method, "--steps", "12", "--batch-size", "16", "--rank", "8", "--learning-rate", "1e-3",
            "--reflora-warmup", "2", "--precision", "fp32",
        )
        pairs = [[text, "The sea"] for text in TEXTS] if "," in texts else [[text] for text in TEXTS]
        words = [text for pair in pairs for text in pair] + (["--pairs"] if "," in texts else [])
        output = subprocess.run(
            [options.lorikeet, "classify", "--json", "--precision", "fp32", "--model", base, "--adapter", adapter, *words],
            check=True, stdout=subprocess.PIPE,
        ).stdout
        labels = json.loads((adapter / "task.json").read_text())["labels"]
        model = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=len(labels), dtype=torch.float32, device_map="cpu"
        )
        # In training mode bitsandbytes computes in fp32 (see interop.base); these models' dropout is switched off.
        model = PeftModel.from_pretrained(model, adapter).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        tokenizer = AutoTokenizer.from_pretrained(source)
        worst = 0.0
        for pair, ours in zip(pairs, json.loads(output)["results"], strict=True):
            with torch.no_grad():
                logits = model(**tokenizer(*pair, return_tensors="pt")).logits[0].float()
            theirs = logits if task == "regression" else logits.softmax(-1)
            ours = [ours["score"]] if task == "regression" else [ours["scores"][label] for label in labels]
            worst = max(worst, (theirs - torch.tensor(ours)).abs().max().item())
        # fp32 on both sides, six blocks deep.
        print(f"{base.name}, {method}, {task}: largest difference {worst:.2e} (at most 1e-4)")
        assert worst <= 1e-4
