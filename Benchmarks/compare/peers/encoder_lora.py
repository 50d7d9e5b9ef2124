"""LoRA training of a classifier with transformers and PEFT over float weights; prints one JSON object.

Rank 8 on every linear layer of the blocks, classifier and pooler trained beside it, AdamW, rows of one length. The first
step warms up.
"""

import argparse
import json

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

from memory import resident_bytes
from training_steps import measure

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
    labels = torch.arange(options.batch_size) % 2

    def losses() -> torch.Tensor:
        ids = torch.randint(3, model.config.vocab_size, (options.batch_size, options.length))
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss

    tokens = options.batch_size * options.length
    print(json.dumps(measure(model, losses, steps=options.steps, tokens=tokens, before=before)))


if __name__ == "__main__":
    main()
