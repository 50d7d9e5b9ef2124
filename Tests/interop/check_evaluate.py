"""`lorikeet evaluate` measures what transformers measures on the same weights, within half a point.

200 rows of two tasks, by likelihood and by generation, of the base and of an adapter trained for them;
transformers computes in fp32 over the NF4 weights that bitsandbytes dequantizes, and so does evaluate unless told
otherwise. --precision int16 rounds, which decides between answers that are nearly as likely: 2 points there, four
rows of 200.
"""

import gzip
import json
import pathlib
import re
import sys

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from transformers import AutoTokenizer

from interop import arguments, base, lorikeet

ROWS = 200
POINTS = 0.5
INT16_POINTS = 2
TASKS = {"boolq": ["true", "false"], "ARC-Easy": [f"answer{i}" for i in range(1, 6)]}
DATA = pathlib.Path("../shared/data/commonsense")
PROMPT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response:\n"
)


def rows(task, part, count):
    with gzip.open(DATA / task / f"{part}.jsonl.gz", "rt") as file:
        return [json.loads(line) for line, _ in zip(file, range(count))]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dequantized(model):
    """The same model with plain fp32 layers: many times as fast as bitsandbytes' own on a CPU."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear4bit):
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state).float()
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight = torch.nn.Parameter(weight, requires_grad=False)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, linear)
    return model.eval()


@torch.no_grad()
def by_likelihood(model, tokenizer, task, rows):
    predictions = []
    for row in rows:
        prompt = PROMPT.format(row["instruction"])
        begin = len(tokenizer(prompt)["input_ids"])
        logs, scores = {}, {}
        for choice in (c for c in TASKS[task] if c in row["instruction"].lower()):
            ids = tokenizer(prompt + row["output"].replace(row["answer"], choice))["input_ids"]
            # Choices that differ in their last token have one input.
            key = tuple(ids[:-1])
            if key not in logs:
                logs[key] = model(input_ids=torch.tensor([key])).logits[0, begin - 1 :].float().log_softmax(-1)
            targets = torch.tensor(ids[begin:])
            scores[choice] = logs[key].gather(1, targets[:, None]).sum().item()
        predictions.append(max(scores, key=scores.get))
    return predictions


@torch.no_grad()
def by_generation(model, tokenizer, task, rows, batch=25):
    predictions = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["instruction"]))
    for begin in range(0, len(rows), batch):
        some = order[begin : begin + batch]
        inputs = tokenizer(
            [PROMPT.format(rows[i]["instruction"]) for i in some], return_tensors="pt", padding=True, padding_side="left"
        )
        answers = model.generate(
            **inputs, do_sample=False, max_new_tokens=32, pad_token_id=tokenizer.pad_token_id
        )
        texts = tokenizer.batch_decode(answers[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for i, text in zip(some, texts):
            found = re.findall("|".join(TASKS[task]), text)
            predictions[i] = found[0] if found else None
    return predictions


options = arguments()
if not DATA.exists():
    print(f"skipped: there is no {DATA}")
    sys.exit()
tests = {task: rows(task, "test", ROWS) for task in TASKS}
files = {task: write(options.work / task / "test.jsonl", tests[task]) for task in TASKS}
train = [row for pair in zip(*(rows(task, "train", 80) for task in TASKS)) for row in pair]
adapter = options.work / "commonsense"
lorikeet(
    options, "train", "--model", options.model, "--data", write(options.work / "train.jsonl", train), "--output",
    adapter, "--force", "--method", "lora", "--rank", "16", "--steps", "20", "--batch-size", "8", "--prompt", "alpaca",
    "--learning-rate", "1e-3", "--schedule", "linear",
)
tokenizer = AutoTokenizer.from_pretrained(options.model)
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
plain = dequantized(base(options))
failures = []
for name in ["base", "adapter"]:
    model = plain if name == "base" else PeftModel.from_pretrained(plain, adapter).eval()
    for measure, predict in [("likelihood", by_likelihood), ("generation", by_generation)]:
        theirs = {task: predict(model, tokenizer, task, tests[task]) for task in TASKS}
        for precision in [None, "int16"]:
            output = options.work / "predictions.jsonl"
            words = ["--adapter", adapter] if name == "adapter" else []
            for file in files.values():
                words += ["--task", file]
            lorikeet(
                options, "evaluate", "--model", options.model, "--by", measure, "--prompt", "alpaca", "--predictions",
                output, "--force", *words, *(["--precision", precision] if precision else []),
            )
            lines = [json.loads(line) for line in output.read_text().splitlines()]
            for index, task in enumerate(TASKS):
                ours = [line["prediction"] for line in lines[index * ROWS : (index + 1) * ROWS]]
                right = [row["answer"] for row in tests[task]]
                a, b = (100 * sum(map(str.__eq__, map(str, p), right)) / ROWS for p in (ours, theirs[task]))
                same = sum(x == y for x, y in zip(ours, theirs[task]))
                print(f"{name}, {task} by {measure}, {precision or 'default'}: {a:.1f} % here, {b:.1f} % there, {same} of {ROWS} the same")
                if abs(a - b) > (POINTS if precision is None else INT16_POINTS):
                    failures.append(f"{name}, {task} by {measure}, {precision}")
assert not failures, f"not the same measure: {failures}"
