"""What is measured, and what is compared with what.

A measurement is one command on one model; a row sets a figure of Lorikeet's beside a figure of a peer's
or a bound. Measurements of one group are run in turn, so that both sides of a row meet the same machine.
"""

import dataclasses
import pathlib
import sys

import vocabularies
from measurement import Measurement

PEERS = pathlib.Path(__file__).parent / "peers"
HERE = PEERS.parent

LARGE = {"llama-2-7b"}  # left out of a quick run


@dataclasses.dataclass(frozen=True)
class Setup:
    """Where things are, and how much is done in one sample."""

    lorikeet: str
    work: pathlib.Path
    smollm2: pathlib.Path  # the NF4 folder
    quick: bool

    def gguf(self, file_type: str) -> pathlib.Path:
        return self.work / "models" / f"SmolLM2-135M-Instruct.{file_type}.gguf"

    @property
    def llama_server(self) -> pathlib.Path:
        return self.work / "llama.cpp/bin/llama-server"

    def shape(self, name: str) -> pathlib.Path:
        """The bf16 folder."""
        return self.work / "shapes" / name

    def shape_nf4(self, name: str) -> pathlib.Path:
        return self.work / "shapes" / f"{name}-nf4"

    def shape_gguf(self, name: str) -> pathlib.Path:
        return self.work / "shapes" / f"{name}.Q4_0.gguf"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A number that a measurement prints, under its key."""

    measurement: str
    key: str


@dataclasses.dataclass(frozen=True)
class Row:
    """`bound` is of the ratio ours / theirs, or of our figure itself where there is no other side."""

    key: str
    section: str
    title: str
    ours: Figure
    theirs: Figure | None
    unit: str
    bound: float | None
    at_least: bool = True


def measurements(setup: Setup) -> list[Measurement]:
    return [
        *smollm2_inference(setup),
        *shape_inference(setup, "tinyllama-1.1b", prefill=512, decode=64, repeats=2),
        *shape_inference(setup, "llama-2-7b", prefill=128, decode=32, repeats=1),
        *training(setup),
        *serving(setup),
        *quantization(setup),
        *tokenizers(setup),
    ]


def script(name: str, *words: object) -> tuple[str, ...]:
    return (sys.executable, str(HERE / name), *map(str, words))


def bench(setup: Setup, model: pathlib.Path, threads: int, *words: object) -> tuple[str, ...]:
    words = ("--model", model, "--threads", threads, *words, "--json")
    return (setup.lorikeet, "bench", *map(str, words))


def llama(model: pathlib.Path, threads: int, *words: object) -> tuple[str, ...]:
    return script("peers/llama_cpp_bench.py", "--model", model, "--threads", threads, *words)


def smollm2_inference(setup: Setup) -> list[Measurement]:
    lengths = ("--prefill", 512, "--decode", 32 if setup.quick else 128)
    deep = ("--prefill", 0, *lengths[2:], "--depth", 2048)
    found: list[Measurement] = []

    def ours(name: str, group: str, words: tuple, environment: tuple = ()) -> None:
        command = bench(setup, setup.smollm2, threads, *words)
        found.append(Measurement(name, group, command, (setup.smollm2,), environment))

    def theirs(name: str, group: str, file_type: str, words: tuple) -> None:
        model = setup.gguf(file_type)
        found.append(Measurement(name, group, llama(model, threads, *words), (model,)))

    for threads in (1, 2):
        group = f"SmolLM2, threads: {threads}"
        ours(f"lorikeet/{threads}", group, lengths)
        theirs(f"llama.cpp Q4_0/{threads}", group, "Q4_0", lengths)
        ours(f"lorikeet int8/{threads}", group, (*lengths, "--precision", "int8"))
        theirs(f"llama.cpp IQ4_NL/{threads}", group, "IQ4_NL", lengths)
        group += ", depth 2048"
        ours(f"lorikeet deep/{threads}", group, deep)
        theirs(f"llama.cpp Q4_0 deep/{threads}", group, "Q4_0", (*deep, "--repeats", 1))
    group = "SmolLM2, 2 threads, bitsandbytes and AVX2"
    ours("lorikeet beside bitsandbytes", group, lengths)
    words = ("--model", setup.smollm2, "--threads", 2, "--decode", 16 if setup.quick else 64)
    command = script("peers/bitsandbytes_decode.py", *words)
    found.append(Measurement("bitsandbytes", group, command, (setup.smollm2,)))
    ours("lorikeet AVX2", group, lengths, (("LORIKEET_ISA", "avx2"),))
    words = ("--lorikeet", setup.lorikeet, "--model", setup.smollm2, "--threads", 2)
    command = script("lorikeet_first_token.py", *words)
    found.append(Measurement("first token", "first token", command, (setup.smollm2,)))
    return found


def shape_inference(
    setup: Setup, shape: str, prefill: int, decode: int, repeats: int
) -> list[Measurement]:
    if setup.quick and shape in LARGE:
        return []
    lengths = ("--prefill", prefill, "--decode", decode)
    folder, gguf = setup.shape_nf4(shape), setup.shape_gguf(shape)
    other = llama(gguf, 2, *lengths, "--repeats", repeats)
    quick = bench(setup, folder, 2, *lengths, "--precision", "int8")
    return [
        Measurement(f"lorikeet {shape}", shape, bench(setup, folder, 2, *lengths), (folder,)),
        Measurement(f"llama.cpp {shape}", shape, other, (gguf,)),
        Measurement(f"lorikeet {shape} int8", shape, quick, (folder,)),
    ]


def training(setup: Setup) -> list[Measurement]:
    found: list[Measurement] = []
    steps = 2 if setup.quick else 4

    def both(group: str, model: pathlib.Path, *words: object) -> None:
        ours(f"lorikeet {group}", group, model, *words)
        command = script("peers/qlora.py", "--model", model, *words, "--threads", 2, "--steps", steps)
        found.append(Measurement(f"bitsandbytes {group}", group, command, (model,)))

    def ours(name: str, group: str, model: pathlib.Path, *words: object, steps: int = steps) -> None:
        words = ("--lorikeet", setup.lorikeet, "--model", model, *words, "--threads", 2)
        command = script("lorikeet_train.py", *words, "--steps", steps)
        found.append(Measurement(name, group, command, (model,)))
        if group.startswith("train"):
            command = script("peers/matmul_peak.py", "--threads", 2)
            found.append(Measurement(f"matmul peak, {group}", group, command))

    rows = ("--batch-size", 4, "--length", 256)
    tinyllama, llama2 = setup.shape_nf4("tinyllama-1.1b"), setup.shape_nf4("llama-2-7b")
    both("train 256x4", setup.smollm2, *rows)
    both("train 256x4 checkpointing", setup.smollm2, *rows, "--gradient-checkpointing")
    both("train 1.1B 256x1", tinyllama, "--batch-size", 1, "--length", 256)
    words = ("--batch-size", 1, "--length", 512, "--gradient-checkpointing")
    if not setup.quick:
        ours("lorikeet train 7B 512x1", "train 7B 512x1", llama2, *words, steps=1)
    folder, nf4 = setup.shape("deberta-v3-base"), setup.shape_nf4("deberta-v3-base")
    words = ("--batch-size", 32, "--length", 128, "--threads", 2, "--steps", steps)
    command = script("lorikeet_encoder_train.py", "--lorikeet", setup.lorikeet, "--model", nf4, *words)
    found.append(Measurement("lorikeet encoder", "train DeBERTa", command, (nf4,)))
    for dtype in ("float32", "bfloat16"):
        command = script("peers/encoder_lora.py", "--model", folder, "--dtype", dtype, *words)
        found.append(Measurement(f"PEFT encoder {dtype}", "train DeBERTa", command, (folder,)))
    for method in ("reflora", "reflora-s"):
        ours(f"lorikeet {method}", "methods", setup.smollm2, *rows, "--method", method, steps=3 * steps)
    return found


def serving(setup: Setup) -> list[Measurement]:
    found: list[Measurement] = []
    work = ("--work", setup.work, *(("--requests", 1) if setup.quick else ()))

    def ours(name: str, group: str, *words: object) -> None:
        words = ("--server", "lorikeet", "--program", setup.lorikeet, "--model", setup.smollm2, *work, *words)
        found.append(Measurement(f"lorikeet {name}", group, script("serving.py", *words), (setup.smollm2,)))

    def theirs(name: str, group: str, *words: object) -> None:
        model, program = setup.gguf("IQ4_NL"), setup.llama_server
        words = ("--server", "llama", "--program", program, "--model", model, "--base", setup.smollm2, *work, *words)
        found.append(Measurement(f"llama-server {name}", group, script("serving.py", *words), (model, program)))

    for adapters in ("none", "one", "mixed"):
        name = f"8 streams, {adapters}"
        ours(name, name, "--adapters", adapters)
        theirs(name, name, "--adapters", adapters)
    ours("8 streams, mean rank", "8 streams, mixed", "--adapters", "one", "--rank", 0)
    for adapters in ("none", "one"):
        ours(f"1 stream, {adapters}", "1 stream", "--adapters", adapters, "--streams", 1, "--requests", 4)
    return found


def quantization(setup: Setup) -> list[Measurement]:
    shape = "tinyllama-1.1b" if setup.quick else "llama-2-7b"
    words = ("--lorikeet", setup.lorikeet, "--source", setup.shape(shape), "--threads", 2)
    ours = script("lorikeet_quantize.py", *words)
    theirs = script("peers/bitsandbytes_quantize.py", "--threads", 2)
    tensor = HERE.parent / ".build/release/quantize-tensor"
    return [
        Measurement("lorikeet tensor", "quantize", (str(tensor),), (tensor,)),
        Measurement("lorikeet quantize", "quantize", ours, (setup.shape(shape),)),
        Measurement("bitsandbytes quantize", "quantize", theirs),
    ]


def tokenizers(setup: Setup) -> list[Measurement]:
    found: list[Measurement] = []
    program = HERE.parent / ".build/release/tokenize-text"
    folder = setup.work / "vocabularies"
    text = folder / "text.txt"
    for kind in vocabularies.KINDS:
        ours, theirs = vocabularies.ours(folder, kind), folder / f"{kind}.tokenizer.json"
        command = (str(program), str(ours), str(text))
        found.append(Measurement(f"lorikeet {kind}", f"tokenizer {kind}", command, (program, ours, text)))
        command = script("peers/tokenizers_encode.py", theirs, text)
        found.append(Measurement(f"tokenizers {kind}", f"tokenizer {kind}", command, (theirs, text)))
    return found


PREFILL, DECODE = "prefill_tokens_per_second", "decode_tokens_per_second"
MEMORY, TRAINING = "peak_memory_bytes", "tokens_per_second"


def rows() -> list[Row]:
    return [*inference_rows(), *training_rows(), *serving_rows(), *tokenizer_rows(), *other_rows()]


def inference_rows() -> list[Row]:
    found: list[Row] = []

    def row(key, title, ours, theirs, bound, figure, unit="tokens/s", at_least=True) -> None:
        other = Figure(theirs, figure) if theirs else None
        found.append(Row(key, "Inference", title, Figure(ours, figure), other, unit, bound, at_least))

    for threads in (1, 2):
        on = f"{threads} thread{'s' if threads > 1 else ''}"
        ours = f"lorikeet/{threads}"
        for kind in ("Q4_0", "IQ4_NL"):
            title = f"SmolLM2 decode 128, {on}, against llama.cpp {kind}"
            row(f"decode-{kind}-{threads}", title, ours, f"llama.cpp {kind}/{threads}", 1.5, DECODE)
        theirs = f"llama.cpp Q4_0 deep/{threads}"
        title = f"SmolLM2 decode at depth 2048, {on}, against llama.cpp Q4_0"
        row(f"depth-{threads}", title, f"lorikeet deep/{threads}", theirs, 2, DECODE)
        theirs = f"llama.cpp Q4_0/{threads}"
        title = f"SmolLM2 prefill 512, {on}, against llama.cpp Q4_0"
        row(f"prefill-{threads}", title, ours, theirs, 1.5, PREFILL)
        title = f"SmolLM2 prefill 512, int8, {on}, against llama.cpp Q4_0"
        row(f"prefill-int8-{threads}", title, f"lorikeet int8/{threads}", theirs, 2.5, PREFILL)
    title = "SmolLM2 decode, 2 threads, against bitsandbytes NF4 in bf16"
    row("bitsandbytes", title, "lorikeet beside bitsandbytes", "bitsandbytes", 8, DECODE)
    title = "SmolLM2, start to first token, warm page cache"
    row("first-token", title, "first token", None, 0.15, "start_to_first_token", "s", False)
    title = "SmolLM2 peak memory, against llama.cpp Q4_0"
    row("memory", title, "lorikeet/2", "llama.cpp Q4_0/2", None, MEMORY, "MB", False)
    for name, key, prefill, bounds in (
        ("tinyllama-1.1b", "1.1b", 512, (1.2, 2.5)),
        ("llama-2-7b", "7b", 128, (1.05, 1.6)),
    ):
        ours, theirs = f"lorikeet {name}", f"llama.cpp {name}"
        size = key.upper()
        row(f"{key}-decode", f"{size} shape decode, against llama.cpp Q4_0", ours, theirs, bounds[0], DECODE)
        title = f"{size} shape prefill {prefill}, against llama.cpp Q4_0"
        row(f"{key}-prefill", title, ours, theirs, bounds[1], PREFILL)
        title = f"{size} shape prefill {prefill}, int8, against llama.cpp Q4_0"
        row(f"{key}-prefill-int8", title, f"{ours} int8", theirs, bounds[1], PREFILL)
        title = f"{size} shape peak memory, against llama.cpp Q4_0"
        row(f"{key}-memory", title, ours, theirs, None, MEMORY, "MB", False)
    title = "7B shape decode, share of the bandwidth probe"
    row("7b-bandwidth", title, "lorikeet llama-2-7b", None, 0.9, "share_of_bandwidth", "")
    title = "7B shape peak memory, against the quantized weights"
    row("7b-weights", title, "lorikeet llama-2-7b", None, 1.15, "memory_of_weights", "", False)
    return found


def training_rows() -> list[Row]:
    found: list[Row] = []

    def row(key, title, ours, theirs, bound, figure=TRAINING, unit="tokens/s", at_least=True) -> None:
        other = Figure(theirs, figure) if theirs else None
        found.append(Row(key, "Training", title, Figure(ours, figure), other, unit, bound, at_least))

    def memory(key, title, ours, theirs, bound) -> None:
        row(key, title, ours, theirs, bound, MEMORY, "MB", False)

    def arithmetic(key, title, group) -> None:
        title = f"{title}, arithmetic beside PyTorch's bf16 matmul"
        sides = f"lorikeet {group}", f"matmul peak, {group}"
        row(f"{key}-arithmetic", title, *sides, 0.7, "flops_per_second", "GFLOP/s")

    group, title = "train 256x4", "SmolLM2 256 × 4"
    sides = f"lorikeet {group}", f"bitsandbytes {group}"
    row("train", f"{title}, against PyTorch + bitsandbytes in bf16", *sides, 1.8)
    memory("train-memory", f"{title}, peak memory", *sides, 0.25)
    arithmetic("train", title, group)
    title = "SmolLM2 256 × 4, recomputing"
    group = "train 256x4 checkpointing"
    sides = f"lorikeet {group}", f"bitsandbytes {group}"
    row("train-recomputing", f"{title}, against PyTorch + bitsandbytes in bf16", *sides, 2)
    memory("train-recomputing-memory", f"{title}, peak memory", sides[0], None, 500e6)
    arithmetic("train-recomputing", title, group)
    group, title = "train 1.1B 256x1", "1.1B shape 256 × 1"
    sides = f"lorikeet {group}", f"bitsandbytes {group}"
    row("train-1.1b", f"{title}, against PyTorch + bitsandbytes in bf16", *sides, 2)
    memory("train-1.1b-memory", f"{title}, peak memory", sides[0], None, 1.6e9)
    arithmetic("train-1.1b", title, group)
    title, ours = "7B shape 512 × 1, recomputing", "lorikeet train 7B 512x1"
    row("train-7b", title, ours, None, 7)
    memory("train-7b-memory", f"{title}, peak memory", ours, None, 6e9)
    arithmetic("train-7b", title, "train 7B 512x1")
    title = "DeBERTaV3-base shape, 32 × 128, rank 8"
    for dtype, bound in (("float32", None), ("bfloat16", 1.5)):
        sides = "lorikeet encoder", f"PEFT encoder {dtype}"
        row(f"encoder-{dtype}", f"{title}, against transformers + PEFT in {dtype}", *sides, bound)
        memory(f"encoder-{dtype}-memory", f"{title}, peak memory, against {dtype}", *sides, bound and 1 / 3)
    for method, bound in (("reflora", 1.005), ("reflora-s", 1.001)):
        title = f"Step time of {method} over the same step without its refactoring, SmolLM2 256 × 4"
        step, plain = (Figure(f"lorikeet {method}", f"{part}_step_seconds") for part in ("median", "plain"))
        found.append(Row(method, "Training", title, step, plain, "s", bound, False))
    return found


def serving_rows() -> list[Row]:
    found: list[Row] = []

    def row(key, title, ours, theirs, bound, figure=TRAINING, unit="tokens/s", at_least=True) -> None:
        sides = Figure(ours, figure), Figure(theirs, figure)
        found.append(Row(f"serving-{key}", "Serving", title, *sides, unit, bound, at_least))

    for adapters, title, bound in (
        ("none", "8 streams, no adapter", 2),
        ("one", "8 streams, all on one adapter of rank 16", 2),
        ("mixed", "8 streams, each its own adapter of rank 4 to 64", 4),
    ):
        sides = f"lorikeet 8 streams, {adapters}", f"llama-server 8 streams, {adapters}"
        row(adapters, f"{title}, against llama-server", *sides, bound)
        title = f"{title}, time to first token, median, against llama-server"
        limit = 0.2 if adapters == "mixed" else None
        row(f"{adapters}-first", title, *sides, limit, "time_to_first_token_p50", "s", False)
    sides = "lorikeet 8 streams, mixed", "lorikeet 8 streams, mean rank"
    row("mean", "8 streams, each its own adapter, beside all on one of their mean rank", *sides, 0.9)
    sides = "lorikeet 1 stream, one", "lorikeet 1 stream, none"
    row("adapter", "One stream with an adapter of rank 16 beside without", *sides, 0.92)
    return found


def tokenizer_rows() -> list[Row]:
    rate = "text_bytes_per_second"
    titles = {
        "gpt-2": "byte-level BPE (GPT-2)",
        "llama-2": "SentencePiece BPE (Llama 2)",
        "llama-3": "tiktoken (Llama 3)",
        "bert": "WordPiece (BERT)",
        "deberta-v3": "SentencePiece unigrams (DeBERTaV3)",
    }
    return [
        Row(
            f"tokenizer-{kind}", "Tokenizers", f"1 MB of text, 1 thread, {titles[kind]}, against Hugging Face's tokenizers",
            Figure(f"lorikeet {kind}", rate), Figure(f"tokenizers {kind}", rate), "MB/s", 1,
        )
        for kind in vocabularies.KINDS
    ]


def other_rows() -> list[Row]:
    rate, quantize = "quantize_weights_per_second", "lorikeet quantize"
    ours, theirs = Figure("lorikeet tensor", rate), Figure("bitsandbytes quantize", rate)
    title = "4096 × 4096 fp32 in memory, against bitsandbytes"
    disk, memory = Figure(quantize, "share_of_disk"), Figure(quantize, MEMORY)
    avx2, avx512 = Figure("lorikeet AVX2", DECODE), Figure("lorikeet beside bitsandbytes", DECODE)
    section = "Quantization"
    return [
        Row("quantize", section, title, ours, theirs, "M weights/s", 30),
        Row("quantize-disk", section, "Share of the disk's reading speed", disk, None, "", None),
        Row("quantize-memory", section, "Peak memory", memory, None, "MB", 1e9, False),
        Row("avx2", "Portability", "SmolLM2 decode, AVX2 against AVX-512", avx2, avx512, "tokens/s", 0.6),
    ]
