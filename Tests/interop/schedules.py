"""Writes Tests/AdaptersTests/Resources/schedules.json: learning-rate factors of transformers' schedules.

    python Tests/interop/schedules.py > Tests/AdaptersTests/Resources/schedules.json
"""

import json
import math

import torch
from transformers import optimization as o

# Each takes (optimizer, warm-up steps, all steps); the rest is what LearningRateSchedule.Shape says.
SCHEDULES = [
    ("cosine", {"floor": 0.1}, lambda p, w, t: o.get_cosine_with_min_lr_schedule_with_warmup(p, w, t, min_lr_rate=0.1)),
    ("cosine-with-restarts", {"cycles": 2},
     lambda p, w, t: o.get_cosine_with_hard_restarts_schedule_with_warmup(p, w, t, num_cycles=2)),
    ("cosine-with-restarts", {"cycles": 3},
     lambda p, w, t: o.get_cosine_with_hard_restarts_schedule_with_warmup(p, w, t, num_cycles=3)),
    ("polynomial", {"power": 2.0, "floor": 0.0},
     lambda p, w, t: o.get_polynomial_decay_schedule_with_warmup(p, w, t, lr_end=0.0, power=2.0)),
    ("polynomial", {"power": 0.5, "floor": 0.25},
     lambda p, w, t: o.get_polynomial_decay_schedule_with_warmup(p, w, t, lr_end=0.25, power=0.5)),
    ("linear", {"floor": 0.25}, lambda p, w, t: o.get_polynomial_decay_schedule_with_warmup(p, w, t, lr_end=0.25)),
    ("inverse-sqrt", {}, lambda p, w, t: o.get_inverse_sqrt_schedule(p, w)),
    ("wsd", {"decayRatio": 0.3, "floor": 0.0},
     lambda p, w, t: o.get_wsd_schedule(p, w, math.ceil(0.3 * t), num_training_steps=t)),
]


def factors(make, warmup, total):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make(optimizer, warmup, total)
    result = []
    for _ in range(total):
        result.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return result


print(json.dumps([
    {"schedule": name, "shape": shape, "warmup": warmup, "total": total, "factors": factors(make, warmup, total)}
    for name, shape, make in SCHEDULES for warmup, total in ((0, 7), (3, 10), (5, 40))]))
