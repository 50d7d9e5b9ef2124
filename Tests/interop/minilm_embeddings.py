"""Records the embeddings of all-MiniLM-L6-v2 as sentence-transformers makes them, for RuntimeTests.

    python minilm_embeddings.py models/cache/all-MiniLM-L6-v2 OUTPUT.safetensors

Needs sentence-transformers and safetensors; fp32 on a CPU.
"""

import json
import sys

import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

TEXTS = [
    "A man is eating food.",
    "The new movie is awesome, though I would not see it twice.",
    "naïve café — 東京 🙂",
    "x",
    "Lorikeets are small to medium-sized arboreal parrots. " * 40,
    "",
]

model = SentenceTransformer(sys.argv[1], device="cpu")
with torch.no_grad():
    vectors = model.encode(TEXTS, convert_to_tensor=True, normalize_embeddings=True, batch_size=2)
save_file({"embeddings": vectors.float().contiguous()}, sys.argv[2], {"texts": json.dumps(TEXTS)})
