"""`lorikeet serve` of an encoder as the openai package uses it: vectors that equal sentence-transformers', of a server of
all-MiniLM-L6-v2; and classes of an adapter, over the model in NF4, as `lorikeet classify` tells them.

Needs the encoder of `models/fetch minilm`; without it nothing is checked.
"""

import asyncio
import json
import pathlib
import struct
import subprocess
import sys

import httpx
import openai

from serving import arguments, serve

options = arguments()
source = pathlib.Path("models/cache/all-MiniLM-L6-v2")
if not source.is_dir():
    print("left out: there is no", source, "(models/fetch minilm)")
    sys.exit()


def recorded():
    """The texts and vectors that minilm_embeddings.py recorded of sentence-transformers."""
    data = pathlib.Path("Tests/RuntimeTests/Resources/minilm_embeddings.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    begin, end = header["embeddings"]["data_offsets"]
    values = struct.unpack(f"<{(end - begin) // 4}f", data[8 + length + begin : 8 + length + end])
    width = header["embeddings"]["shape"][1]
    return json.loads(header["__metadata__"]["texts"]), [values[i : i + width] for i in range(0, len(values), width)]


def distance(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def embeddings(client, ready):
    texts, expected = recorded()
    # sentence-transformers cuts what is too long; the server is asked to.
    cut = {"truncate_prompt_tokens": -1}
    worst = 0.0
    # Without a format the package asks for base64, and decodes it.
    for encoding in ("float", openai.NOT_GIVEN):
        answer = client.embeddings.create(model=ready["model"], input=texts, encoding_format=encoding, extra_body=cut)
        assert [entry.index for entry in answer.data] == list(range(len(texts))) and answer.usage.prompt_tokens
        worst = max([worst] + [distance(entry.embedding, vector) for entry, vector in zip(answer.data, expected)])
    assert worst <= 1e-4, worst
    try:
        client.embeddings.create(model=ready["model"], input=texts)
        raise AssertionError("a text of more tokens than the model takes was taken")
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded" and error.param == "input" and "256" in error.message
    try:
        client.chat.completions.create(model=ready["model"], messages=[{"role": "user", "content": "x"}])
        raise AssertionError("an encoder generated")
    except openai.BadRequestError as error:
        assert "does not generate" in error.message
    return worst


async def concurrent(ready):
    texts, expected = recorded()
    client = openai.AsyncOpenAI(base_url=ready["url"] + "/v1", api_key="none")

    async def one(index):
        answer = await client.embeddings.create(model=ready["model"], input=texts[index])
        return distance(answer.data[0].embedding, expected[index])

    assert max(await asyncio.gather(*(one(i % 4) for i in range(64)))) <= 1e-4


def classes(client, ready, base, adapter):
    texts = ["The pirate sings a song.", "Ships are built of wood.", "Eggs are sold at the market."]
    words = [options.lorikeet, "classify", "--model", base, "--adapter", adapter, "--json", *texts]
    output = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True).stdout
    expected = json.loads(output)["results"]
    answer = httpx.post(ready["url"] + "/v1/classify", json={"model": "mood", "input": texts}).raise_for_status().json()
    for entry, result in zip(answer["data"], expected, strict=True):
        assert entry["label"] == result["label"] and entry["num_classes"] == 2
        # The same products of integers, three texts at a time in both.
        assert distance(entry["probs"], result["scores"].values()) <= 1e-5
    plain = client.embeddings.create(model=ready["model"], input=texts[0]).data[0].embedding
    adapted = client.embeddings.create(model="mood", input=texts[0]).data[0].embedding
    assert distance(plain, adapted) > 1e-3


options.work.mkdir(parents=True, exist_ok=True)
options.model = str(source)
with serve(options) as ready:
    client = openai.OpenAI(base_url=ready["url"] + "/v1", api_key="none", max_retries=0)
    worst = embeddings(client, ready)
    asyncio.run(concurrent(ready))

base, adapter, table = (options.work / name for name in ("minilm-nf4", "mood", "mood.tsv"))
rows = [f"The pirate sings song {i}.\tyes" for i in range(32)] + [f"The farmer sells {i} eggs.\tno" for i in range(32)]
table.write_text("text\tlabel\n" + "\n".join(rows) + "\n")
for words in (
    ["quantize", source, "--output", base, "--force"],
    ["train", "--model", base, "--task", "classification", "--text-columns", "text", "--label-column", "label", "--data", table,
     "--output", adapter, "--force", "--method", "lora", "--rank", "4", "--steps", "12", "--batch-size", "16",
     "--learning-rate", "1e-3"],
):
    subprocess.run([options.lorikeet, *map(str, words)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
options.model = str(base)
with serve(options, "--adapter", f"mood={adapter}") as ready:
    client = openai.OpenAI(base_url=ready["url"] + "/v1", api_key="none", max_retries=0)
    classes(client, ready, base, adapter)
print(f"an encoder: vectors within {worst:.1e} of sentence-transformers', 64 at a time, classes, an adapter, errors")
