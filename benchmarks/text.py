"""Free text: what its words are worth, beside scikit-learn's hashing vectoriser, and what every column of it costs.

    python benchmarks/text.py --rows 20000

The texts are paragraphs of the docstrings of four packages, the class is whether one is of scikit-learn or statsmodels
and not of pandas or SciPy; a fifth of them at random is held out. Peer: `HashingVectorizer(ngram_range=(1, 2))` and
`LogisticRegression`, judged at the best of its strengths as the held-out rows see it, which flatters it; its seconds
are of one fit at that strength. Ours choose structure and strengths on the other rows, certify two fits and judge one.
"""

from __future__ import annotations

import argparse
import ast
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from batchlearn.data.encoding_fit import EncodingRules
from batchlearn.tables.table import read
from batchlearn.training.recipe import Recipe
from batchlearn.training.train import train

PACKAGES = {"pandas": False, "scipy": False, "sklearn": True, "statsmodels": True}
FEWEST_WORDS, LONGEST, PARAGRAPHS = 6, 300, 3
DOCUMENTED = ast.FunctionDef | ast.ClassDef
# Columns for words and pairs, and for the buckets of the others.
WIDTHS = ((256, 64), (1024, 0), (1024, 256), (2048, 256))


def paragraphs(rows: int) -> tuple[list[str], np.ndarray]:
    """Return texts, each once, in random order, and their classes."""
    found: dict[str, bool] = {}
    for package, label in PACKAGES.items():
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        for path in sorted(Path(spec.origin).parent.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                text = ast.get_docstring(node) if isinstance(node, DOCUMENTED) else None
                for part in (text or "").split("\n\n")[:PARAGRAPHS]:
                    if len(part.split()) >= FEWEST_WORDS:
                        found.setdefault(part[:LONGEST], label)
    texts = list(found)
    order = np.random.default_rng(1).permutation(len(texts))[:rows]
    return [texts[k] for k in order], np.asarray([found[texts[k]] for k in order])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    texts, label = paragraphs(parser.parse_args().rows)
    early = int(0.8 * len(texts))
    print(f"{len(texts):,} texts, {early:,} to learn from")
    print("| columns | held-out AUC | s | bound on the loss |\n|---|---:|---:|---:|")
    table = read(
        {"text": texts, "place": np.arange(len(texts)), "label": label}, target="label", time="place", text="text"
    )
    for words, buckets in WIDTHS:
        began = time.process_time()
        fit = train(table, Recipe(rules=EncodingRules(text_words=words, text_buckets=buckets)), threads=1)
        assert fit.evaluation is not None
        auc, seconds = fit.evaluation.to_json()["metrics"]["auc"]["value"], time.process_time() - began
        print(f"| {words:,} words, {buckets} buckets | {auc:.3f} | {seconds:.1f} | {fit.certificate.loss_bound:.1e} |")
    for features in (2**10, 2**11, 2**12, 2**20):
        began = time.process_time()
        hashed = HashingVectorizer(ngram_range=(1, 2), n_features=features).transform(texts)
        reading, found = time.process_time() - began, []
        for strength in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0):
            began = time.process_time()
            peer = LogisticRegression(C=strength, max_iter=2000).fit(hashed[:early], label[:early])
            seconds = time.process_time() - began
            found.append((roc_auc_score(label[early:], peer.decision_function(hashed[early:])), seconds))
        auc, seconds = max(found)
        print(f"| scikit-learn, {features:,} hashed | {auc:.3f} | {reading + seconds:.1f} | |", flush=True)


if __name__ == "__main__":
    main()
