"""What the checks share: the command line, running lorikeet, comparing logits."""

import argparse
import json
import pathlib
import subprocess

import torch
from safetensors.torch import load_file

PROMPT = "The quick brown fox jumps over the lazy dog, and the capital of France is"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorikeet", required=True)
    parser.add_argument("--model", required=True, help="a folder that lorikeet quantize wrote")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    return parser.parse_args()


def lorikeet(options, *words):
    subprocess.run([options.lorikeet, *map(str, words)], check=True)


def lorikeet_json(options, *words):
    """What the command prints with --json."""
    output = subprocess.run([options.lorikeet, *map(str, words), "--json"], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(output)


def logits(options, ids, *words):
    output = options.work / "logits.safetensors"
    tokens = ",".join(map(str, ids))
    lorikeet(options, "logits", "--model", options.model, "--tokens", tokens, "--output", output, "--force", *words)
    return load_file(output)["logits"]


def float_folder(options):
    """The base dequantized, as a folder that transformers and PEFT load."""
    folder = options.work / "floats"
    lorikeet(
        options, "export", "--model", options.model, "--format", "safetensors", "--dtype", "fp32", "--output", folder,
        "--force")
    return folder


def randomize(model, seed):
    """Factors, magnitudes and whole modules of a trained adapter's size: logits move by about one."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
            elif "lora_magnitude_vector" in name or "modules_to_save" in name:
                parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    return model


def base(options):
    """The folder as transformers and bitsandbytes load it, in fp32 arithmetic."""
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(2)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, device_map="cpu")
    # bitsandbytes repacks layers to bf16 in eval mode on some CPUs; in training mode it computes in fp32.
    return model.train()


def require_close(name, ours, theirs, tolerance):
    difference = (ours - theirs).abs().max().item()
    print(f"{name}: largest difference {difference:.2e} (at most {tolerance:.0e})")
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    assert difference <= tolerance, f"{name}: {difference} is more than {tolerance}"
    assert (ours.argmax(-1) == theirs.argmax(-1)).all(), f"{name}: another token is the likeliest"
