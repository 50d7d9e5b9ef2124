"""Merged weights are PEFT's, in LoRA and DoRA, and transformers loads the folders that they are written into."""

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from interop import PROMPT, arguments, float_folder, lorikeet, lorikeet_json, logits, randomize, require_close

options = arguments()
ids = AutoTokenizer.from_pretrained(options.model)(PROMPT)["input_ids"]
floats = float_folder(options)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


for kind, settings in (("lora", dict(use_rslora=True)), ("dora", dict(use_dora=True))):
    torch.manual_seed(0)
    model = get_peft_model(
        load(floats), LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], **settings))
    randomize(model, 1)
    adapter = options.work / f"merge-{kind}"
    model.save_pretrained(adapter)
    theirs = model.merge_and_unload().state_dict()

    output = options.work / f"merged-{kind}"
    lorikeet(
        options, "export", "--model", options.model, "--adapter", adapter, "--format", "safetensors", "--dtype",
        "fp32", "--output", output, "--force")
    ours = load_file(output / "model.safetensors")
    worst = max(
        ((value - theirs[name]).abs().max() / theirs[name].abs().max()).item() for name, value in ours.items())
    print(f"{kind}: largest difference of a merged weight {worst:.1e} of its matrix's largest (at most 1e-6)")
    # Some roundings to 24 bits.
    assert worst <= 1e-6, worst
    with torch.no_grad():
        require_close(
            f"{kind}: logits of the merged folder", logits(options, ids, "--adapter", adapter),
            load(output)(input_ids=torch.tensor([ids])).logits[0], 2e-3)

    report = lorikeet_json(
        options, "merge", "--model", options.model, "--adapter", adapter, "--output", output, "--force")
    rounded = load_file(output / "model.safetensors")
    # Where a fp32 weight lies half-way between two, its last bit decides: one step of bf16.
    different = sum((value != theirs[name].bfloat16()).sum().item() for name, value in rounded.items())
    total = sum(value.numel() for value in rounded.values())
    print(f"{kind}: {different} of {total} bf16 weights differ; {report['surviving_share']:.4f} survives")
    assert different <= total / 1000 and abs(report["surviving_share"] - 1) < 0.01, report
