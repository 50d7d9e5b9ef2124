"""Writes Tests/AdaptersTests/Resources/toy_training.json: a tiny model trained by torch in each method.

The model, its numbers and the options are those of Tests/AdaptersTests/Training/ToyModel.swift. S comes
from eigendecompositions in float64, another way than the product's; LoRA-Pro's X from a linear system; LoRA-RITE
is the authors' public algorithm (github.com/gkevinyen5418/LoRA-RITE, with the escaped mass switched on) in float64;
AdaLoRA's ranks are chosen by PEFT's own RankAllocator.

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


class Xoshiro:
    """xoshiro256++ seeded by SplitMix64, as Sources/Runtime/Foundation/SeededGenerator.swift."""

    MASK = (1 << 64) - 1

    def __init__(self, seed):
        self.state = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & self.MASK
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & self.MASK
            self.state.append(z ^ (z >> 31))

    def next(self):
        s, rotate = self.state, lambda x, k: ((x << k) | (x >> (64 - k))) & self.MASK
        result = (rotate((s[0] + s[3]) & self.MASK, 23) + s[0]) & self.MASK
        t = (s[1] << 17) & self.MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
        return result

    def normal(self):
        first, second = (self.next() >> 11) * 2.0**-53, (self.next() >> 11) * 2.0**-53
        return math.sqrt(-2 * math.log(1 - first)) * math.cos(2 * math.pi * second)


def preconditioned(a, b, damping):
    identity = torch.eye(RANK, dtype=torch.float64)
    a.grad.copy_(torch.linalg.solve(b.double().T @ b.double() + damping * identity, a.grad.double()))
    b.grad.copy_(torch.linalg.solve(a.double() @ a.double().T + damping * identity, b.grad.double().T).T)


def projected(a, b, scale, damping=1e-8):
    """LoRA-Pro's theorem 2.1, X from the Kronecker form of its Sylvester equation."""
    identity = torch.eye(RANK, dtype=torch.float64)
    ad, bd, ga, gb = a.double(), b.double(), a.grad.double(), b.grad.double()
    y, k = bd.T @ bd, ad @ ad.T
    y_inverse, k_inverse = torch.linalg.inv(y + damping * identity), torch.linalg.inv(k + damping * identity)
    right = -y_inverse @ ga @ ad.T / scale**2
    # Row-major: vec(Y X + X K) = (Y ⊗ I + I ⊗ Kᵀ) vec(X)
    system = torch.kron(y, identity) + torch.kron(identity, k)
    x = torch.linalg.solve(system, right.flatten()).view(RANK, RANK)
    a.grad.copy_(y_inverse @ ga / scale**2 + x @ ad)
    outside = torch.eye(len(bd), dtype=torch.float64) - bd @ y_inverse @ bd.T
    b.grad.copy_(outside @ gb @ k_inverse / scale**2 - bd @ x)


class LoraRite:
    def __init__(self, factors, betas=(0.9, 0.999), decay=DECAY):
        self.factors, self.betas, self.decay, self.count = factors, betas, decay, 0
        zero = lambda *shape: torch.zeros(shape, dtype=torch.float64)
        # A's as its transpose, thus every factor is [n, rank].
        self.memory = [
            [{"v": zero(RANK, RANK), "m": zero(n, RANK), "basis": zero(n, RANK), "escaped": 0.0}
             for n in (a.shape[1], b.shape[0])] for a, b, *_ in factors]

    def step(self, rate):
        t = self.count + 1
        beta1, beta2 = (beta * (1 - beta ** (t - 1)) / (1 - beta**t) for beta in self.betas)
        prepared = []
        for (a, b, *_), memory in zip(self.factors, self.memory):
            values, gradients = (a.double().T, b.double()), (a.grad.double().T, b.grad.double())
            bases, roots = zip(*(torch.linalg.qr(value) for value in values))
            inverses = [torch.linalg.pinv(root) for root in roots]
            carries = [basis.T @ m["basis"] for basis, m in zip(bases, memory)]
            updates = [gradients[0] @ inverses[1], gradients[1] @ inverses[0]]
            updates = [u if u.pow(2).mean().sqrt() <= 1 else torch.zeros_like(u) for u in updates]
            for basis, m in zip(bases, memory):
                m["basis"] = basis
            prepared.append((values, updates, inverses[::-1], carries[::-1]))
        norm = math.sqrt(sum(float(u.pow(2).sum()) for p in prepared for u in p[1]))
        for pair, memory, (values, updates, inverses, carries) in zip(self.factors, self.memory, prepared):
            for i, (value, u, inverse, carry, m) in enumerate(zip(values, updates, inverses, carries, memory)):
                u = u / max(norm, 1)
                carried = carry @ m["v"] @ carry.T
                fall = torch.linalg.eigvalsh(m["v"]) - torch.linalg.eigvalsh(carried)
                m["escaped"] = beta2 * (m["escaped"] + max(float(fall.max()), 0))
                m["v"] = beta2 * carried + (1 - beta2) * u.T @ u / len(u)
                w, vectors = torch.linalg.eigh(m["v"])
                u = u @ (vectors / (torch.sqrt(w.clamp(min=0) + m["escaped"]) + 1e-6)) @ vectors.T
                m["m"] = (1 - beta1) * u + beta1 * m["m"] @ carry.T
                new = value - rate * (m["m"] @ inverse.T + self.decay * value)
                pair[i].copy_(new.T if i == 0 else new)
        self.count = t


class Triplets(torch.nn.Module):
    """Named as PEFT's AdaLoRA layers."""

    def __init__(self, q, p):
        super().__init__()
        parameter = torch.nn.Parameter
        self.lora_A = torch.nn.ParameterDict({"default": parameter(q)})
        self.lora_E = torch.nn.ParameterDict({"default": parameter(torch.zeros(RANK, 1))})
        self.lora_B = torch.nn.ParameterDict({"default": parameter(p)})

    @property
    def parts(self):
        return self.lora_A["default"], self.lora_E["default"], self.lora_B["default"]


def train_adalora():
    from peft import AdaLoraConfig
    from peft.tuners.adalora.layer import RankAllocator
    from transformers import get_cosine_schedule_with_warmup
    config = AdaLoraConfig(
        init_r=RANK, target_r=RANK * 2 // 3, tinit=STEPS // 10, tfinal=STEPS // 3, deltaT=1, total_step=STEPS)
    generator, scale = Xoshiro(0), ALPHA / RANK
    start = lambda rows: torch.tensor([0.02 * generator.normal() for _ in range(rows * RANK)]).view(rows, RANK)
    model = torch.nn.ModuleList([
        Triplets(matrix(RANK, INPUT, 5, 0.3), start(HIDDEN)), Triplets(matrix(RANK, HIDDEN, 6, 0.3), start(OUTPUT))])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, foreach=False)
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    allocator, pattern, losses, norms = RankAllocator(model, config, "default"), None, [], []
    products = lambda: [(q.detach().clone(), (p * e.T).detach().clone()) for q, e, p in (m.parts for m in model)]
    for step in range(STEPS):
        factors = [(a.requires_grad_(), b.requires_grad_()) for a, b in products()]
        total, count = loss_sum([row((BATCH * step + i) % ROWS) for i in range(BATCH)], factors, scale)
        (total / count).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_([p for pair in factors for p in pair], CLIP)))
        losses.append(float(total.detach()) / count)
        optimizer.zero_grad()
        penalty, terms = 0, 0
        for module, (a, b) in zip(model, factors):
            q, e, p = module.parts
            # The loss's part through the chain rule, from gradients that were clipped as the factors'.
            (q * a.grad).sum().backward()
            ((p * e.T) * b.grad).sum().backward()
            for gram in (q @ q.T, p.T @ p):
                penalty, terms = penalty + torch.norm(gram - torch.eye(RANK), p="fro"), terms + 1
        (config.orth_reg_weight * penalty / terms).backward()
        optimizer.step()
        schedule.step()
        # As AdaLoraModel.update_and_allocate does.
        now, end = step + 1, STEPS - config.tfinal
        if now < end:
            _, pattern = allocator.update_and_allocate(model, now)
        elif now == end:
            _, pattern = allocator.update_and_allocate(model, now, force_mask=True)
        else:
            allocator.mask_using_rank_pattern(model, pattern)
    final = [p.flatten().tolist() for pair in products() for p in pair]
    return {"losses": losses, "gradient_norms": norms, "factors": final}


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
    if method == "lora-fa":
        for a, *_ in factors:
            a.requires_grad_(False)
    ratio = 16 if method == "loraplus" else 1
    optimizer = torch.optim.AdamW(
        [{"params": [p for f in factors for p in f[:1] + f[2:]], "lr": RATE}, {"params": [f[1] for f in factors], "lr": RATE * ratio}],
        weight_decay=DECAY, foreach=False)
    from transformers import get_cosine_schedule_with_warmup
    schedule = get_cosine_schedule_with_warmup(optimizer, WARMUP, STEPS)
    rite = LoraRite(factors) if method == "lora-rite" else None
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
                for a, b, *_ in factors:
                    s, inverse = refactoring(a, b)
                    a.grad.copy_((inverse @ a.grad.double()).float())
                    b.grad.copy_((b.grad.double() @ s).float())
            if method == "preclora":
                for a, b, *_ in factors:
                    preconditioned(a, b, 1e-2)
            if method == "lora-fa":
                for a, b, *_ in factors:
                    k = a.double() @ a.double().T + 1e-8 * torch.eye(RANK, dtype=torch.float64)
                    b.grad.copy_(torch.linalg.solve(k, b.grad.double().T).T / scale**2)
            if method == "lora-pro":
                for a, b, *_ in factors:
                    projected(a, b, scale)
            if method == "lora-rite":
                rite.step(schedule.get_last_lr()[0])
                for p in parameters:
                    p.grad = None
            optimizer.step()
            schedule.step()
            if method == "reflora-s" and step + 1 >= REFACTORING_WARMUP:
                for a, b, *_ in factors:
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


METHODS = (
    "lora", "rslora", "loraplus", "dora", "lora-fa", "preclora", "lora-pro", "lora-rite", "reflora", "reflora-s")
runs = {m: train(m) for m in METHODS}
runs["adalora"] = train_adalora()
print(json.dumps({"runs": runs, "schedules": schedules()}))
