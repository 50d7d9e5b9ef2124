"""`lorikeet serve` behind LiteLLM, as openai/NAME and as hosted_vllm/NAME."""

import os

# No look at the network for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

from serving import QUESTION, arguments, serve

options = arguments()
litellm.telemetry = False
with serve(options) as ready:
    name, base = ready["model"], ready["url"] + "/v1"
    request = {"messages": QUESTION, "api_base": base, "temperature": 0, "max_tokens": 8}
    answer = litellm.completion(model=f"openai/{name}", api_key="none", **request)
    text = answer.choices[0].message.content
    assert "Paris" in text and answer.usage.completion_tokens == 8
    vllm = litellm.completion(model=f"hosted_vllm/{name}", **request)
    assert vllm.choices[0].message.content == text
    pieces = litellm.completion(model=f"hosted_vllm/{name}", stream=True, **request)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces) == text
    completed = litellm.text_completion(
        model=f"text-completion-openai/{name}", prompt="The capital of France is", api_base=base, api_key="none",
        temperature=0, max_tokens=4,
    )
    assert completed.choices[0].text
    try:
        litellm.completion(model="openai/nobody", api_key="none", **request)
        raise AssertionError("an unknown model answered")
    except litellm.NotFoundError:
        pass
print("LiteLLM: chat as openai and hosted_vllm, streams, completions, errors")
