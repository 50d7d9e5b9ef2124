"""LoRA training of a classifier with transformers and PEFT over float weights; prints one JSON object.

Rank 8 on every linear layer of the blocks, classifier and pooler trained beside it, AdamW, rows of one length. The first
step warms up.
"""

import argparse
import json
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from memory import peak_bytes, resident_bytes

LAYERS = r".*\.layer\.\d+\..*(_proj|dense)"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], required=True)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    return parser.parse_args()


def adapted(options: argparse.Namespace):
    model = AutoModelForSequenceClassification.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    config = LoraConfig(
        r=options.rank, lora_alpha=2 * options.rank, target_modules=LAYERS, task_type="SEQ_CLS",
        modules_to_save=["classifier", "pooler"],
    )
    return get_peft_model(model, config, autocast_adapter_dtype=False).train()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    before = resident_bytes()
    model = adapted(options)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    labels = torch.arange(options.batch_size) % 2
    samples = []
    for _ in range(1 + options.steps):
        ids = torch.randint(3, model.config.vocab_size, (options.batch_size, options.length))
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        loss.backward()
        optimizer.step()
        samples.append(time.perf_counter() - start)
    result = {
        "tokens_per_second": options.batch_size * options.length / statistics.median(samples[1:]),
        "step_seconds": samples,
        "loss": loss.item(),
        "interpreter_bytes": before,
        "peak_memory_bytes": peak_bytes(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
