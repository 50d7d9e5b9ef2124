"""Records metrics of random predictions, with ties, as scikit-learn and SciPy have them, for AdaptersTests.

    python task_metrics.py OUTPUT.json
"""

import json
import sys

import numpy
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


def of_classes(count, predicted, expected):
    average = "binary" if count == 2 else "macro"
    return {
        "classes": count,
        "predicted": [int(p) for p in predicted],
        "expected": [int(e) for e in expected],
        "accuracy": float(accuracy_score(expected, predicted)),
        "f1": float(f1_score(expected, predicted, average=average)),
        "matthews": float(matthews_corrcoef(expected, predicted)),
    }


random = numpy.random.default_rng(5)
classes = []
for count, rows in [(2, 40), (2, 7), (3, 50), (5, 30)]:
    expected = random.integers(0, count, rows)
    guesses = random.integers(0, count, rows)
    classes.append(
        of_classes(count, numpy.where(random.random(rows) < 0.6, expected, guesses), expected)
    )
classes.append(of_classes(2, [1, 1, 1, 1, 1], [0, 1, 1, 0, 1]))
numbers = []
for rows in (30, 8):
    predicted = numpy.round(random.normal(size=rows), 1)
    expected = numpy.round(predicted + random.normal(size=rows), 0)
    numbers.append(
        {
            "predicted": predicted.tolist(),
            "expected": expected.tolist(),
            "pearson": float(pearsonr(predicted, expected)[0]),
            "spearman": float(spearmanr(predicted, expected)[0]),
        }
    )
json.dump({"classes": classes, "numbers": numbers}, open(sys.argv[1], "w"))
