"""QLoRA training with transformers, bitsandbytes and PEFT on an NF4 folder, bf16 arithmetic; prints one JSON object.

Rank 16 on all seven linear layers, AdamW, the loss over every token of rows of one length. The first step warms up.
"""

import argparse
import json
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model

from bitsandbytes_model import load
from memory import peak_bytes, resident_bytes

LAYERS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--fp32-adapters", action="store_true", help="as PEFT does unless asked")
    return parser.parse_args()


def adapted(options: argparse.Namespace):
    model = load(options.model)
    model.config.use_cache = False
    if options.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    config = LoraConfig(
        r=options.rank, lora_alpha=2 * options.rank, target_modules=LAYERS, task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config, autocast_adapter_dtype=options.fp32_adapters).train()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    before = resident_bytes()
    model = adapted(options)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
    samples = []
    for _ in range(1 + options.steps):
        ids = torch.randint(3, model.config.vocab_size, (options.batch_size, options.length))
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        samples.append(time.perf_counter() - start)
    step = statistics.median(samples[1:])
    result = {
        "tokens_per_second": options.batch_size * options.length / step,
        "step_seconds": samples,
        "loss": loss.item(),
        "interpreter_bytes": before,
        "peak_memory_bytes": peak_bytes(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
