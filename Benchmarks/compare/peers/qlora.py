"""QLoRA training with transformers, bitsandbytes and PEFT on an NF4 folder, bf16 arithmetic; prints one JSON object.

Rank 16 on all seven linear layers, AdamW, the loss over every token of rows of one length. The first step warms up.
"""

import argparse
import json

import torch
from peft import LoraConfig, get_peft_model

from bitsandbytes_model import load
from memory import resident_bytes
from training_steps import measure

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

    def losses() -> torch.Tensor:
        ids = torch.randint(3, model.config.vocab_size, (options.batch_size, options.length))
        return model(input_ids=ids, labels=ids).loss

    tokens = options.batch_size * options.length
    print(json.dumps(measure(model, losses, steps=options.steps, tokens=tokens, before=before)))


if __name__ == "__main__":
    main()
