"""Linear SVMs with squared hinge loss, by liblinear (through scikit-learn) to a tight tolerance.

Writes crates/eval/tests/golden/svm.safetensors: for each problem, under its name, `x` [N, F],
`labels` [N], `test` [M, F], and for each cost `decisions.C` [M, classes], the decision values of
one-vs-rest SVMs with a regularized bias. One problem has more rows than features, one fewer, one
features of very different scales.
"""

import numpy as np
from sklearn.svm import LinearSVC

from fixture import normal, rng_for, write_tensors

# name, rows, features, classes, costs, how far the classes lie apart
PROBLEMS = [
    ("tall", 60, 7, 3, ["0.01", "1"], 1.0),
    ("wide", 24, 40, 4, ["0.0001", "0.01"], 0.7),
    ("scales", 50, 9, 2, ["0.001", "0.1"], 0.5),
]


def main():
    tensors = {}
    for name, rows, features, classes, costs, apart in PROBLEMS:
        rng = rng_for(f"svm {name}")
        centers = normal(rng, (classes, features), apart)
        scale = (np.float32(10.0) ** rng.uniform(-2, 1, features).astype(np.float32)
                 if name == "scales" else np.float32(1))
        labels = np.arange(rows) % classes
        x = ((centers[labels] + normal(rng, (rows, features))) * scale).astype(np.float32)
        test = (normal(rng, (16, features), 1.5) * scale).astype(np.float32)
        tensors |= {f"{name}.x": x, f"{name}.labels": labels.astype(np.int64), f"{name}.test": test}
        for cost in costs:
            svm = LinearSVC(C=float(cost), loss="squared_hinge", dual=True, tol=1e-9,
                            max_iter=200_000, random_state=0)
            svm.fit(x.astype(np.float64), labels)
            decisions = svm.decision_function(test.astype(np.float64))
            # Of two classes it trains one SVM; the other class has the negated decisions.
            if classes == 2:
                decisions = np.stack([-decisions, decisions], 1)
            tensors[f"{name}.decisions.{cost}"] = decisions
    write_tensors("crates/eval/tests/golden/svm.safetensors", tensors)


if __name__ == "__main__":
    main()
