"""A GGUF file's perplexity in llama.cpp, scored as `lorikeet perplexity` does: FILE CONTEXT, tokens on standard input
as `lorikeet tokenize --json` prints them. Every window starts with nothing before it; all its tokens but the first count.
"""

import json
import sys

import llama_cpp
import numpy as np

file, context = sys.argv[1], int(sys.argv[2])
tokens = json.load(sys.stdin)["ids"]
model = llama_cpp.Llama(file, n_ctx=context, n_batch=context, logits_all=True, verbose=False)
losses = []
for start in range(0, len(tokens) - context + 1, context):
    window = tokens[start : start + context]
    model.reset()
    model.eval(window)
    logits = model.scores[: context - 1].astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(logits).sum(axis=1))
    losses.extend(log_sums - logits[np.arange(context - 1), window[1:]])
print(np.exp(np.mean(losses)))
