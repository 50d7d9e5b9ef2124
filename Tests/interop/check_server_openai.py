"""`lorikeet serve` as the openai package uses it: sync, async, streaming, choices, log probabilities, errors."""

import asyncio
import json

import openai

from serving import QUESTION, adapter, arguments, serve

options = arguments()


def models(client, ready):
    names = [model.id for model in client.models.list()]
    assert names == [ready["model"], "pirate"], names
    pirate = client.models.retrieve("pirate")
    assert pirate.parent == ready["model"] and len(pirate.digest) == 64 and pirate.created and pirate.owned_by


def chat(client, ready):
    answer = client.chat.completions.create(model=ready["model"], messages=QUESTION, temperature=0, max_tokens=8)
    text = answer.choices[0].message.content
    assert "Paris" in text, text
    assert answer.choices[0].finish_reason == "length" and answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0 and answer.system_fingerprint
    pieces, reasons, usage = [], [], None
    stream = client.chat.completions.create(
        model=ready["model"], messages=QUESTION, temperature=0, max_tokens=8, stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            reasons.append(choice.finish_reason)
    assert "".join(pieces) == text, pieces
    assert reasons[-1] == "length" and not any(reasons[:-1])
    assert usage.completion_tokens == 8
    adapted = client.chat.completions.create(model="pirate", messages=QUESTION, temperature=0, max_tokens=8)
    assert adapted.model == "pirate" and adapted.choices[0].message.content != text
    assert adapted.system_fingerprint != answer.system_fingerprint
    blend = client.chat.completions.create(
        model=ready["model"], messages=QUESTION, temperature=0, max_tokens=8,
        extra_body={"adapters": [{"name": "pirate", "scale": 1.0}]},
    )
    assert blend.choices[0].message.content == adapted.choices[0].message.content
    return text


def parameters(client, ready, text):
    stopped = client.chat.completions.create(
        model=ready["model"], messages=QUESTION, temperature=0, max_tokens=8, stop=[" Paris", "nothing"]
    )
    assert stopped.choices[0].message.content == text.split(" Paris")[0] and stopped.choices[0].finish_reason == "stop"

    def several(seed):
        answer = client.chat.completions.create(
            model=ready["model"], messages=QUESTION, temperature=1.5, max_tokens=8, n=3, seed=seed,
            frequency_penalty=0.5, presence_penalty=0.5, top_p=0.9,
        )
        assert [choice.index for choice in answer.choices] == [0, 1, 2]
        return [choice.message.content for choice in answer.choices]

    first = several(5)
    assert first == several(5) and len(set(first)) > 1
    answer = client.chat.completions.create(
        model=ready["model"], messages=QUESTION, temperature=0, max_tokens=4, logprobs=True, top_logprobs=2
    )
    content = answer.choices[0].logprobs.content
    assert "".join(token.token for token in content) == answer.choices[0].message.content
    assert all(len(token.top_logprobs) == 2 and bytes(token.bytes).decode() == token.token for token in content)
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    same = client.chat.completions.create(model=ready["model"], messages=parts, temperature=0, max_tokens=8)
    assert same.choices[0].message.content == text


def completions(client, ready):
    prompt = "The capital of France is"
    answer = client.completions.create(model=ready["model"], prompt=prompt, temperature=0, max_tokens=4, logprobs=2)
    text = answer.choices[0].text
    logs = answer.choices[0].logprobs
    assert "".join(logs.tokens) == text and len(logs.top_logprobs) == 4 and logs.text_offset[0] == 0
    pieces = client.completions.create(model=ready["model"], prompt=prompt, temperature=0, max_tokens=4, stream=True)
    assert "".join(chunk.choices[0].text for chunk in pieces) == text
    both = client.completions.create(model=ready["model"], prompt=[prompt, "Two"], temperature=0, max_tokens=4, echo=True)
    assert both.choices[0].text == prompt + text and both.choices[1].text.startswith("Two")


def structured(client, ready):
    schema = {
        "type": "object", "properties": {"city": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
        "required": ["city", "large"], "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=ready["model"], messages=QUESTION, temperature=1, max_tokens=100,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )
    assert set(json.loads(answer.choices[0].message.content)) == {"city", "large"}
    tool = {"type": "function", "function": {"name": "look_up", "parameters": schema}}
    request = {
        "model": ready["model"], "messages": QUESTION, "temperature": 0, "max_tokens": 100, "tools": [tool],
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "function": {"name": "look_up"}},
    }
    choice = client.chat.completions.create(**request).choices[0]
    call = choice.message.tool_calls[0]
    assert choice.finish_reason == "tool_calls" and call.function.name == "look_up" and call.id
    assert set(json.loads(call.function.arguments)) == {"city", "large"}
    names, arguments, reasons = [], "", []
    for chunk in client.chat.completions.create(stream=True, **request):
        for delta in chunk.choices[0].delta.tool_calls or []:
            assert delta.index == 0
            names += [delta.function.name] if delta.function.name else []
            arguments += delta.function.arguments or ""
        reasons.append(chunk.choices[0].finish_reason)
    assert names == ["look_up"] and arguments == call.function.arguments and reasons[-1] == "tool_calls"


def errors(client, ready):
    def fails(kind, **request):
        request = {"model": ready["model"], "messages": QUESTION, "max_tokens": 1} | request
        try:
            client.chat.completions.create(**request)
        except kind as error:
            return error
        raise AssertionError(f"no {kind.__name__} of {request}")

    error = fails(openai.NotFoundError, model="nobody")
    assert error.code == "model_not_found" and error.param == "model" and "pirate" in error.message
    assert error.request_id
    assert fails(openai.BadRequestError, temperature=7).param == "temperature"
    assert fails(openai.BadRequestError, messages=[]).param == "messages"
    long = [{"role": "user", "content": "word " * 20000}]
    assert fails(openai.BadRequestError, messages=long).code == "context_length_exceeded"
    try:
        openai.OpenAI(base_url=client.base_url, api_key="wrong").models.list()
        raise AssertionError("a wrong key was taken")
    except openai.AuthenticationError as error:
        assert error.code == "invalid_api_key"
    guest = openai.OpenAI(base_url=client.base_url, api_key="sk-guest")
    try:
        guest.chat.completions.create(model=ready["model"], messages=QUESTION)
        raise AssertionError("a key was let to a model that it may not call")
    except openai.PermissionDeniedError as error:
        assert error.code == "model_not_allowed"
    assert [model.id for model in guest.models.list()] == ["pirate"]


async def concurrent(base_url, ready, text):
    client = openai.AsyncOpenAI(base_url=base_url, api_key="sk-test")

    async def whole(model):
        answer = await client.chat.completions.create(model=model, messages=QUESTION, temperature=0, max_tokens=8)
        return answer.choices[0].message.content

    async def streamed(model):
        stream = await client.chat.completions.create(
            model=model, messages=QUESTION, temperature=0, max_tokens=8, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    answers = await asyncio.gather(*(f(m) for _ in range(6) for f in (whole, streamed) for m in (ready["model"], "pirate")))
    assert set(answers[::2]) == {text}, answers[::2]
    assert len(set(answers[1::2])) == 1 and answers[1] != text
    # One that loses interest leaves a server that goes on.
    stream = await client.chat.completions.create(model=ready["model"], messages=QUESTION, max_tokens=500, stream=True)
    async for _ in stream:
        break
    await stream.close()
    assert await whole(ready["model"]) == text


keys = options.work / "keys.json"
keys.parent.mkdir(parents=True, exist_ok=True)
keys.write_text(
    '{"keys": [{"key": "sk-test", "name": "tester", "load": true}, {"key": "sk-guest", "adapters": ["pirate"]}]}'
)
pirate = adapter(options, "pirate")
with serve(options, "--adapter", f"pirate={pirate}", "--api-keys", keys) as ready:
    client = openai.OpenAI(base_url=ready["url"] + "/v1", api_key="sk-test", max_retries=0)
    models(client, ready)
    text = chat(client, ready)
    parameters(client, ready, text)
    completions(client, ready)
    structured(client, ready)
    errors(client, ready)
    asyncio.run(concurrent(client.base_url, ready, text))
print("the openai package: models, chat, streams, choices, log probabilities, completions, schemas, tools, errors, async")
