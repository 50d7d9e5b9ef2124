"""llama.cpp loads what `lorikeet export` writes, model and adapters, and gives the same greedy text.

Where the reference numbers lie beside the checkout, their two adapters and recorded texts are used as well.
"""

import json
import pathlib
import shutil

import llama_cpp
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from interop import arguments, lorikeet, lorikeet_json

QUESTIONS = ["What is the capital of Poland?", "Tell me something about cats.", "How do I make coffee?"]
# No `½`: SmolLM2's GGUF cuts it off as a digit, and our tokenizer as transformers' conversion has it does not.
TEXTS = [
    "Hello, world!", "  two  spaces\n\nand lines\t", "1234567 3.14 100% a cup", "naïve café, 世界, 🦙🦙",
    "I'm sure we'll see; it's 5'8\".", "def f(x):\n    return x ** 2  # comment",
]
GOLDEN = pathlib.Path("../shared/reference/golden")

options = arguments()


def load(model, adapter=None, **more):
    # fp32 arithmetic as far as llama.cpp has it: no flash attention, an fp32 cache.
    return llama_cpp.Llama(
        str(model), lora_path=None if adapter is None else str(adapter), n_ctx=512, n_threads=2, verbose=False,
        flash_attn=False, type_k=0, type_v=0, **more)


def greedy(model, prompt, count=32):
    tokens = []
    for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
        tokens.append(token)
        if len(tokens) == count or token == model.token_eos():
            return tokens


def ours(model, adapter, question):
    words = ["--adapter", adapter] if adapter else []
    out = lorikeet_json(
        options, "generate", "--model", model, "--chat", question, "--max-tokens", 32, "--precision", "fp32", *words)
    return out["token_ids"]


def prompt_ids(model, question):
    """The conversation through the chat template of the GGUF, in llama.cpp's tokens."""
    formatter = llama_cpp.llama_chat_format.Jinja2ChatFormatter(
        template=model.metadata["tokenizer.chat_template"], eos_token="<|im_end|>", bos_token="<|im_start|>")
    text = formatter(messages=[{"role": "user", "content": question}]).prompt
    return model.tokenize(text.encode(), add_bos=False, special=True)


def compare(name, gguf, base, adapter=None, golden=None):
    lora = None
    if adapter is not None:
        lora = options.work / f"{pathlib.Path(adapter).name}.lora.gguf"
        lorikeet(options, "export", "--model", base, "--adapter", adapter, "--format", "gguf-lora", "--output", lora, "--force")
    model = load(gguf, lora)
    equal = 0
    for index, question in enumerate(QUESTIONS):
        prompt = prompt_ids(model, question)
        theirs, mine = greedy(model, prompt), ours(base, adapter, question)
        if mine and theirs[-1] == model.token_eos() and len(mine) == len(theirs) - 1:
            mine = mine + [theirs[-1]]
        equal += theirs == mine
        if theirs != mine:
            print(f"{name}: {question}\n  llama.cpp {theirs}\n  lorikeet  {mine}")
        if golden is not None:
            assert prompt == golden["prompt_ids"][index], f"{name}: the prompt's tokens"
            kind = f"{golden['base']}/{'base' if adapter is None else pathlib.Path(adapter).name}/q{index}"
            recorded = golden["out"][kind]["ids"]
            assert theirs == recorded[: len(theirs)] and len(theirs) == len(recorded), f"{name}: {kind}"
    print(f"{name}: {equal} of {len(QUESTIONS)} texts equal")
    assert equal == len(QUESTIONS), name


def export(base, output, *words):
    lorikeet(options, "export", "--model", base, "--format", "gguf", "--output", output, "--force", *words)
    return output


def compare_tokens(name, gguf, folder, texts=TEXTS):
    model = load(gguf, vocab_only=True)
    for text in texts:
        theirs = model.tokenize(text.encode(), add_bos=True, special=True)
        mine = lorikeet_json(options, "tokenize", "--model", folder, text)["ids"]
        assert theirs == mine, f"{name}: {text!r}\n  llama.cpp {theirs}\n  lorikeet  {mine}"
    print(f"{name}: the tokens of {len(texts)} texts equal")


# An adapter trained here, with ranks and scales that llama.cpp must be told by way of B.
trained = options.work / "rslora"
lorikeet(
    options, "train", "--model", options.model, "--data", "Examples/pirate.jsonl", "--output", trained, "--force",
    "--method", "rslora", "--steps", "8", "--batch-size", "4", "--rank", "8", "--learning-rate", "1e-3")
config = json.loads((trained / "adapter_config.json").read_text())
config["alpha_pattern"] = {"q_proj": 7, r"layers\.1\..*": 3}
(trained / "adapter_config.json").write_text(json.dumps(config))

golden = json.loads((GOLDEN / "adapters.json").read_text()) if (GOLDEN / "adapters.json").exists() else None
source = pathlib.Path("models/cache/SmolLM2-135M-Instruct.Q4_1.gguf")
for base, kind in ((options.model, "nf4dq"), (source, "fp32")):
    if not pathlib.Path(base).exists():
        continue
    gguf = export(base, options.work / f"{kind}.gguf", "--dtype", "fp32")
    compare_tokens(f"vocabulary of {kind}", gguf, base)
    recorded = None if golden is None else {**golden, "base": kind}
    compare(f"{kind}, base", gguf, base, golden=recorded)
    if kind == "nf4dq":
        compare(f"{kind}, rslora with patterns", gguf, base, trained)
    for adapter in ("caps", "pirate") if golden else ():
        compare(f"{kind}, {adapter}", gguf, base, GOLDEN / "adapters" / adapter, recorded)

# Merged into the weights, in each type: fp32 gives the same text, the others load and answer.
merged = export(options.model, options.work / "merged.gguf", "--dtype", "fp32", "--adapter", trained)
model = load(merged)
for question in QUESTIONS:
    theirs, mine = greedy(model, prompt_ids(model, question)), ours(options.model, trained, question)
    assert theirs[: len(mine)] == mine, f"merged: {question}\n  llama.cpp {theirs}\n  lorikeet  {mine}"
print(f"merged: {len(QUESTIONS)} of {len(QUESTIONS)} texts equal")
for dtype in ("bf16", "fp16"):
    model = load(export(options.model, options.work / f"{dtype}.gguf", "--dtype", dtype))
    print(f"{dtype}: {model.detokenize(greedy(model, prompt_ids(model, QUESTIONS[0]))).decode()!r}")

# SentencePiece's byte pairs, from a tokenizer.json and from a .model: the vocabulary alone, over a small model.
resources = pathlib.Path("Tests/RuntimeTests/Resources/tokenizer")
tiny = LlamaForCausalLM(LlamaConfig(
    vocab_size=1300, hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=2))
for vocabulary, file in (("metaspace.tokenizer.json", "tokenizer.json"), ("llama_pieces.model", "tokenizer.model"),
                         ("byte_level.tokenizer.json", "tokenizer.json")):
    folder = options.work / vocabulary
    tiny.save_pretrained(folder)
    shutil.copy(resources / vocabulary, folder / file)
    # A Metaspace puts no space before one, llama.cpp does.
    texts = [text for text in TEXTS if vocabulary != "metaspace.tokenizer.json" or not text.startswith(" ")]
    compare_tokens(vocabulary, export(folder, options.work / f"{vocabulary}.gguf"), folder, texts)

# Every architecture, with random weights: what llama.cpp fills in must be what we leave out. The windows are shorter than
# the texts, but for Mistral's, which ends a text there.
shape = {
    "vocab_size": 1300, "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 2, "num_key_value_heads": 1,
    "num_hidden_layers": 2, "max_position_embeddings": 256, "initializer_range": 0.2, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}
heads, caps = {"head_dim": 32}, {"query_pre_attn_scalar": 32, "sliding_window": 8}
rows = options.work / "rows.jsonl"
rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
ARCHITECTURES = {
    "Mistral": {"sliding_window": 64}, "Qwen2": {}, "Qwen3": heads, "Gemma2": heads | caps,
    "Gemma3": heads | caps | {"num_hidden_layers": 6}, "Phi3": {},  # whose windows llama.cpp leaves out of account
}
for name, settings in ARCHITECTURES.items():
    text = "Text" if name == "Gemma3" else ""
    config = getattr(transformers, f"{name}{text}Config")(**shape | settings)
    # Not by its name alone: of a phi3 llama.cpp expects Phi-3's own tokens.
    folder = options.work / f"random-{name.lower().replace('3', '-three')}"
    transformers.set_seed(0)
    getattr(transformers, f"{name}ForCausalLM")(config).save_pretrained(folder)
    shutil.copy(resources / "byte_level.tokenizer.json", folder / "tokenizer.json")
    adapter = options.work / f"{name}-adapter"
    lorikeet(
        options, "train", "--model", folder, "--data", rows, "--output", adapter, "--force", "--steps", "4", "--batch-size", "4", "--rank", "4", "--learning-rate", "1e-1")
    gguf = export(folder, options.work / f"{name}.gguf", "--dtype", "fp32")
    lora = options.work / f"{name}.lora.gguf"
    lorikeet(options, "export", "--model", folder, "--adapter", adapter, "--format", "gguf-lora", "--output", lora, "--force")
    answers = []
    for words, model in (((), load(gguf)), (("--adapter", adapter), load(gguf, lora))):
        prompt = model.tokenize(b"In the beginning there was a word", add_bos=False)
        theirs = greedy(model, prompt, 24)
        mine = lorikeet_json(
            options, "generate", "--model", folder, "--prompt", "In the beginning there was a word", "--max-tokens", 24,
            "--precision", "fp32", *words)["token_ids"]
        assert theirs[: len(mine)] == mine, f"{name}: {words}\n  llama.cpp {theirs}\n  lorikeet  {mine}"
        answers.append(mine)
    assert answers[0] != answers[1], f"{name}: the adapter changes nothing"
    print(f"{name}: the texts without and with an adapter equal")
