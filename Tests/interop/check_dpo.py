"""TRL's DPOTrainer and `lorikeet train --objective dpo` have the same losses and rewards from the same start."""

import json

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer

from interop import arguments, base, lorikeet

STEPS, PAIRS, BETA, RATE = 6, 2, 0.3, 5e-4
options = arguments()
questions = ["What is the capital of Poland?", "How many legs has a spider?", "Name a primary colour.", "What is 2+2?"]
chosen = ["Arr, it be Warsaw, matey!", "Eight legs, arr!", "Red, like me parrot.", "Four, ye landlubber."]
rejected = ["The capital of Poland is Warsaw.", "A spider has eight legs.", "Red.", "2+2 equals 4."]
rows = [
    {
        "prompt": [{"role": "user", "content": question}],
        "chosen": [{"role": "assistant", "content": good}],
        "rejected": [{"role": "assistant", "content": bad}],
    }
    for question, good, bad in zip(questions, chosen, rejected)
]
data, start, output = (options.work / name for name in ("preferences.jsonl", "dpo-start", "dpo"))
data.write_text("".join(json.dumps(row) + "\n" for row in rows))

torch.manual_seed(0)
model = get_peft_model(
    base(options), LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
)
model.save_pretrained(start)


class Trainer(DPOTrainer):
    def _get_train_sampler(self, *_):
        return SequentialSampler(self.train_dataset)


tokenizer = AutoTokenizer.from_pretrained(options.model)
trainer = Trainer(
    model=model,
    args=DPOConfig(
        output_dir=str(options.work / "trl"), max_steps=STEPS, per_device_train_batch_size=PAIRS, beta=BETA,
        learning_rate=RATE, lr_scheduler_type="constant", weight_decay=0.0,
        max_grad_norm=0.0, logging_steps=1, report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False,
        save_strategy="no", disable_tqdm=True,
    ),
    train_dataset=Dataset.from_list(rows),
    processing_class=tokenizer,
)
trainer.train()
theirs = [row for row in trainer.state.log_history if "rewards/chosen" in row]

lorikeet(
    options, "train", "--model", options.model, "--data", data, "--output", output, "--force", "--init-adapter", start,
    "--objective", "dpo", "--beta", BETA, "--method", "lora", "--rank", "8",
    "--alpha", "16", "--steps", STEPS, "--batch-size", PAIRS, "--learning-rate", RATE, "--no-shuffle",
    "--precision", "fp32",
)
ours = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
assert len(ours) == len(theirs) == STEPS, (len(ours), len(theirs))
names = ["loss", "rewards/chosen", "rewards/rejected", "rewards/margins"]
worst = 0.0
for mine, other in zip(ours, theirs):
    print(mine["step"], *(f"{name} {mine[name]:.5f} ({float(other[name]):.5f})" for name in names))
    errors = (abs(mine[name] - float(other[name])) / max(1, abs(float(other[name]))) for name in names)
    worst = max(worst, *errors)
# TRL logs four digits; Adam's first steps take the sign of gradients that are mere rounding. Seen: losses 0.6931, 0.3949,
# 0.0126 and 0.0492 (TRL's 0.6931, 0.3949, 0.0125 and 0.0489), margins 0, 0.7503, 4.639 and 3.371 (0, 0.7502, 4.647, 3.379).
assert worst < 5e-3, worst
print(f"losses and rewards of TRL's DPOTrainer: largest difference {worst:.1e} (at most 5e-03)")
