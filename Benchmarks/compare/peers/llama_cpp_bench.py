"""llama.cpp's speed on a GGUF file, measured as its llama-bench does; prints one JSON object.

Prefill is one batch of `--prefill` tokens, of which the last gives logits; decode is `--decode` batches of one
random token, so no time goes into sampling. Both start from a cache that holds `--depth` tokens, and both are
run before for warming up. Flash attention is tried on and off, and the better of each figure is taken.
The calls go to the C functions; Python adds some microseconds a token.
"""

import argparse
import ctypes
import json
import random
import statistics
import time

import llama_cpp

from memory import peak_bytes, resident_bytes

FLASH_ATTENTION = {
    "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
BATCH = 512  # llama-bench's -ub; its -b is 2048, which only matters for longer prompts


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--depth", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--flash-attention", choices=FLASH_ATTENTION, help="only this setting")
    parser.add_argument("--no-mmap", action="store_true")
    return parser.parse_args()


class Session:
    """A context for a loaded model."""

    def __init__(self, model, options: argparse.Namespace, flash_attention: str):
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = options.depth + max(options.prefill, options.decode)
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_threads = parameters.n_threads_batch = options.threads
        parameters.flash_attn_type = FLASH_ATTENTION[flash_attention]
        self.context = llama_cpp.llama_init_from_model(model, parameters)
        if not self.context:
            raise SystemExit(f"llama.cpp makes no context of {parameters.n_ctx} tokens")
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        self.vocabulary_size = llama_cpp.llama_vocab_n_tokens(vocabulary)

    def close(self) -> None:
        llama_cpp.llama_free(self.context)

    def tokens(self, count: int) -> ctypes.Array:
        draw = random.Random(count)
        ids = [draw.randrange(self.vocabulary_size) for _ in range(count)]
        return (llama_cpp.llama_token * count)(*ids)

    def fill(self, depth: int) -> None:
        """Empties the cache, then puts `depth` tokens into it."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        if depth > 0:
            self.prefill(self.tokens(depth))

    def prefill(self, tokens: ctypes.Array) -> None:
        for start in range(0, len(tokens), BATCH):
            count = min(BATCH, len(tokens) - start)
            self.step(ctypes.cast(ctypes.byref(tokens, 4 * start), TOKENS), count)
        llama_cpp.llama_synchronize(self.context)

    def decode(self, tokens: ctypes.Array) -> None:
        for index in range(len(tokens)):
            self.step(ctypes.cast(ctypes.byref(tokens, 4 * index), TOKENS), 1)
            llama_cpp.llama_synchronize(self.context)

    def step(self, tokens: ctypes.Array, count: int) -> None:
        status = llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(tokens, count))
        if status != 0:
            raise SystemExit(f"llama_decode failed with {status}")


TOKENS = ctypes.POINTER(llama_cpp.llama_token)
SILENT = llama_cpp.llama_log_callback(lambda level, text, data: None)


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def rate(session: Session, work, tokens: ctypes.Array, options: argparse.Namespace) -> float:
    """Tokens a second: the median of the repeats."""
    samples = []
    for _ in range(options.repeats):
        session.fill(options.depth)
        samples.append(seconds(lambda: work(tokens)))
    return len(tokens) / statistics.median(samples)


def load(path: str, use_mmap: bool):
    llama_cpp.llama_log_set(SILENT, ctypes.c_void_p())
    llama_cpp.llama_backend_init()
    parameters = llama_cpp.llama_model_default_params()
    parameters.use_mmap = use_mmap
    model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {path}")
    return model


def figures(model, options: argparse.Namespace, flash_attention: str) -> dict[str, float]:
    """Tokens a second with one setting of flash attention."""
    session = Session(model, options, flash_attention)
    result = {}
    session.fill(options.prefill)
    session.fill(0)
    session.decode(session.tokens(2))
    if options.prefill > 0:
        prompt = session.tokens(options.prefill)
        result["prefill_tokens_per_second"] = rate(session, session.prefill, prompt, options)
    if options.decode > 0:
        answer = session.tokens(options.decode)
        result["decode_tokens_per_second"] = rate(session, session.decode, answer, options)
    session.close()
    return result


def main() -> None:
    options = arguments()
    before = resident_bytes()
    start = time.perf_counter()
    model = load(options.model, use_mmap=not options.no_mmap)
    load_seconds = time.perf_counter() - start
    settings = [options.flash_attention] if options.flash_attention else list(FLASH_ATTENTION)
    tried = {setting: figures(model, options, setting) for setting in settings}
    result: dict[str, object] = {}
    for name in tried[settings[0]]:
        result[name] = max(figure[name] for figure in tried.values())
    result["flash_attention"] = tried
    result["load_seconds"] = load_seconds
    # A program of llama.cpp's own would hold no Python.
    result["peak_memory_bytes"] = peak_bytes() - before
    print(json.dumps(result))


if __name__ == "__main__":
    main()
