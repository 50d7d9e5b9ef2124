"""What the `tokenizers` package makes of texts, as the tests' case files hold it."""


def cases(tokenizer, texts):
    """Texts with their ids, and the text of the ids."""
    rows = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        rows.append({"text": text, "ids": ids, "bare": tokenizer.encode(text, add_special_tokens=False).ids,
                     "decoded": tokenizer.decode(ids, skip_special_tokens=False), "read": tokenizer.decode(ids)})
    return rows
