"""Makes tiny random models of several architectures and records transformers' logits, loss and gradients.

    python tiny_models.py ../RuntimeTests/Resources/tiny [NAME ...]

Two blocks of width 64, of which one attends locally where the architecture has both kinds; three rows of up to 40
tokens, longer than the windows of 8, the shorter ones padded. Norms and biases are random too, so that each of
them matters. golden.safetensors holds input_ids, attention_mask, labels and logits; golden.json the mean loss and
the norm of the loss's gradient in every weight. Needs torch, transformers, safetensors.
"""
import json
import os
import sys

import torch
import transformers
from safetensors.torch import save_file

COMMON = dict(
    vocab_size=96, hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.15, bos_token_id=1, eos_token_id=2,
    pad_token_id=0, rms_norm_eps=1e-6, attn_implementation="eager")
LOCAL_AND_GLOBAL = ["sliding_attention", "full_attention"]
MODELS = {
    # Biases of queries, keys, values and output; the upper block attends locally.
    "qwen3_window": ("Qwen3", dict(
        head_dim=24, attention_bias=True, use_sliding_window=True, sliding_window=8, max_window_layers=1,
        rope_parameters=dict(rope_type="default", rope_theta=1e6), tie_word_embeddings=False)),
    "gemma2": ("Gemma2", dict(
        head_dim=24, query_pre_attn_scalar=20, sliding_window=8, layer_types=LOCAL_AND_GLOBAL,
        attn_logit_softcapping=3.0, final_logit_softcapping=5.0,
        rope_parameters=dict(rope_type="default", rope_theta=1e4))),
    "gemma3": ("Gemma3", dict(
        head_dim=16, query_pre_attn_scalar=20, sliding_window=8, layer_types=LOCAL_AND_GLOBAL,
        rope_parameters=dict(
            full_attention=dict(rope_type="linear", factor=4.0, rope_theta=1e5),
            sliding_attention=dict(rope_type="default", rope_theta=1e3)))),
    # Heads that rotate in part, by LongRoPE's factors for short texts.
    "phi3_longrope": ("Phi3", dict(
        sliding_window=8, max_position_embeddings=1280, original_max_position_embeddings=320,
        rope_parameters=dict(
            rope_type="longrope", rope_theta=1e4, partial_rotary_factor=0.75,
            short_factor=[1.0, 1.02, 1.05, 1.1, 1.3, 1.5], long_factor=[1.0, 1.5, 3.0, 8.0, 20.0, 30.0]),
        tie_word_embeddings=False)),
}


def configuration(architecture, settings):
    name = architecture + ("TextConfig" if architecture == "Gemma3" else "Config")
    return getattr(transformers, name)(**{**COMMON, **settings})


def randomize(model):
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            # A norm's weight is around what it is at the start: one, or zero in Gemma.
            parameter.data += 0.3 * torch.randn_like(parameter)


def record(name, folder):
    torch.manual_seed(sum(map(ord, name)))
    architecture, settings = MODELS[name]
    model = getattr(transformers, architecture + "ForCausalLM")(configuration(architecture, settings))
    randomize(model)
    model.eval()
    model.save_pretrained(folder)
    ids = torch.randint(3, 96, (3, 40))
    mask = torch.ones_like(ids)
    for row, length in enumerate((40, 33, 11)):
        ids[row, length:] = 0
        mask[row, length:] = 0
    labels = torch.where(mask == 1, ids, -100)
    labels[:, :5] = -100
    output = model(input_ids=ids, attention_mask=mask, labels=labels)
    output.loss.backward()
    norms = {n: p.grad.double().norm().item() for n, p in model.named_parameters()}
    save_file(
        dict(input_ids=ids, attention_mask=mask, labels=labels, logits=output.logits.detach().contiguous()),
        f"{folder}/golden.safetensors")
    with open(f"{folder}/golden.json", "w") as file:
        json.dump(dict(loss=output.loss.item(), grad_norms=norms), file, indent=1)
    print(name, output.loss.item(), output.logits.abs().max().item())


torch.set_num_threads(1)
for name in sys.argv[2:] or MODELS:
    os.makedirs(f"{sys.argv[1]}/{name}", exist_ok=True)
    record(name, f"{sys.argv[1]}/{name}")
