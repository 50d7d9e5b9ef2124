"""Writes Tests/AdaptersTests/Resources/toy_training.json: a tiny model trained by torch in each method.

The model, its numbers and the options are those of Tests/AdaptersTests/Training/ToyModel.swift. S comes
from eigendecompositions in float64, another way than the product's.

    python Tests/interop/toy_training.py > Tests/AdaptersTests/Resources/toy_training.json
"""

import json
import math

import torch

torch.set_num_threads(1)
INPUT, HIDDEN, OUTPUT, RANK, VOCABULARY, ROWS = 12, 10, 9, 4, 16, 10
STEPS, BATCH, RATE, WARMUP, DECAY, CLIP, ALPHA, REFACTORING_WARMUP = 30, 4, 0.02, 3, 0.01, 0.3, 8, 4


def waves(count, salt):
    return [math.sin(1.7 * i * i + 0.9 * i + salt) for i in range(count)]


def matrix(rows, columns, salt, size):
    return torch.tensor(waves(rows * columns, salt), dtype=torch.float64).mul(size).float().view(rows, columns)


EMBEDDING, TARGETS = matrix(VOCABULARY, INPUT, 1, 1), matrix(VOCABULARY, OUTPUT, 2, 1)
W0, W1 = matrix(HIDDEN, INPUT, 3, 0.3), matrix(OUTPUT, HIDDEN, 4, 0.3)


def row(k):
    """Row k has 3 + k % 4 tokens; every third position is masked."""
    tokens = [(5 * k + 3 * i * i + i) % VOCABULARY for i in range(3 + k % 4)]
    labels = [-100 if (i + k) % 3 == 0 else (7 * t + k) % VOCABULARY for i, t in enumerate(tokens)]
    return tokens, labels


def layer(w, factors, scale, x):
    a, b = factors[:2]
    y = w @ x + scale * (b @ (a @ x))
    if len(factors) == 2:
        return y
    norm = (w.double() + scale * (b.double() @ a.double())).norm(dim=1).float().detach()
    return factors[2] / norm * y


def loss_sum(rows, factors, scale):
    total, count = 0, 0
    for tokens, labels in rows:
        for i in range(1, len(tokens)):
            if labels[i] == -100:
                continue
            x = EMBEDDING[tokens[i - 1]]
            h = torch.tanh(layer(W0, factors[0], scale, x))
            y = layer(W1, factors[1], scale, h)
            total, count = total + 0.5 * ((y - TARGETS[labels[i]]) ** 2).sum(), count + 1
    return total, count


def power(m, p):
    values, vectors = torch.linalg.eigh(m)
    return vectors @ torch.diag(values**p) @ vectors.T


def refactoring(a, b):
    x, y = a.double() @ a.double().T, b.double().T @ b.double()
    root, inverse = power(x, 0.5), power(x, -0.5)
    s = inverse @ power(root @ y @ root, 0.5) @ inverse
    return s, torch.linalg.inv(s)


def train(method):
    scale = ALPHA / (math.sqrt(RANK) if method == "rslora" else RANK)
    factors = [
        (matrix(RANK, INPUT, 5, 0.3).requires_grad_(), torch.zeros(HIDDEN, RANK, requires_grad=True)),
        (matrix(RANK, HIDDEN, 6, 0.3).requires_grad_(), torch.zeros(OUTPUT, RANK, requires_grad=True)),
    ]
    if method == "dora":
        norms = [w.double().norm(dim=1).float().requires_grad_() for w in (W0, W1)]
        factors = [(*pair, norm) for pair, norm in zip(factors, norms)]
    parameters = [p for pair in factors for p in pair]
    ratio = 16 if method == "loraplus" else 1
    optimizer = torch.optim.AdamW(
        [{"params": [p for f in factors for p in f[:1] + f[2:]], "lr": RATE}, {"params": [f[1] for f in factors], "lr": RATE * ratio}],
        weight_decay=DECAY, foreach=False)
    from transformers import get_cosine_schedule_with_warmup
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    losses, norms = [], []
    for step in range(STEPS):
        rows = [row((BATCH * step + i) % ROWS) for i in range(BATCH)]
        total, count = loss_sum(rows, factors, scale)
        optimizer.zero_grad()
        (total / count).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, CLIP)))
        losses.append(float(total.detach()) / count)
        with torch.no_grad():
            if method == "reflora" and step >= REFACTORING_WARMUP:
                for a, b in factors:
                    s, inverse = refactoring(a, b)
                    a.grad.copy_((inverse @ a.grad.double()).float())
                    b.grad.copy_((b.grad.double() @ s).float())
            optimizer.step()
            schedule.step()
            if method == "reflora-s" and step + 1 >= REFACTORING_WARMUP:
                for a, b in factors:
                    s = float(b.double().norm() / a.double().norm())
                    for p, k in ((a, math.sqrt(s)), (b, 1 / math.sqrt(s))):
                        p.mul_(k)
                        optimizer.state[p]["exp_avg"].div_(k)
                        optimizer.state[p]["exp_avg_sq"].div_(k * k)
    final = [p.detach().flatten().tolist() for p in parameters]
    return {"losses": losses, "gradient_norms": norms, "factors": final}


def schedules():
    from transformers import get_scheduler
    result = []
    for name, kind in (("linear", "linear"), ("cosine", "cosine"), ("constant", "constant_with_warmup")):
        for warmup, total in ((0, 7), (3, 10), (5, 4)):
            optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
            schedule = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=total)
            factors = []
            for _ in range(total):
                factors.append(schedule.get_last_lr()[0])
                optimizer.step()
                schedule.step()
            result.append({"schedule": name, "warmup": warmup, "total": total, "factors": factors})
    return result


runs = {m: train(m) for m in ("lora", "rslora", "loraplus", "dora", "reflora", "reflora-s")}
print(json.dumps({"runs": runs, "schedules": schedules()}))
