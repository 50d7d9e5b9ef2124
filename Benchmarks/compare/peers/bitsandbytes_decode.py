"""transformers + bitsandbytes on an NF4 folder, bf16 arithmetic, greedy decoding with a cache.

Prints one JSON object.
"""

import argparse
import json
import statistics
import time

import torch

from bitsandbytes_model import load
from memory import peak_bytes, resident_bytes


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=2)
    return parser.parse_args()


@torch.inference_mode()
def prefill(model, length: int) -> float:
    """Seconds for the logits after one prompt of `length` tokens."""
    ids = torch.randint(3, model.config.vocab_size, (1, length))
    start = time.perf_counter()
    model(input_ids=ids, use_cache=True, logits_to_keep=1)
    return time.perf_counter() - start


@torch.inference_mode()
def decode(model, count: int) -> float:
    """Seconds for `count` tokens after one token."""
    output = model(input_ids=torch.tensor([[1]]), use_cache=True)
    start = time.perf_counter()
    for _ in range(count):
        token = output.logits[:, -1:].argmax(-1)
        output = model(input_ids=token, past_key_values=output.past_key_values, use_cache=True)
    return time.perf_counter() - start


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    before = resident_bytes()
    model = load(options.model).eval()
    prefill(model, options.prefill)
    decode(model, 4)
    prefills = [prefill(model, options.prefill) for _ in range(options.repeats)]
    decodes = [decode(model, options.decode) for _ in range(options.repeats)]
    result = {
        "prefill_tokens_per_second": options.prefill / statistics.median(prefills),
        "decode_tokens_per_second": options.decode / statistics.median(decodes),
        "interpreter_bytes": before,
        "peak_memory_bytes": peak_bytes(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
