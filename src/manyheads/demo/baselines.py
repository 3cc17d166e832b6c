"""What a head has to beat: the most frequent label, and TF-IDF with logistic regression."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def majority_accuracy(train_labels: Sequence[object], held_out_labels: Sequence[object]) -> float:
    """Return the accuracy of always saying the most frequent training label."""
    most_frequent = Counter(train_labels).most_common(1)[0][0]
    return sum(label == most_frequent for label in held_out_labels) / len(held_out_labels)


def tfidf_accuracy(
    train_texts: Sequence[str],
    train_labels: Sequence[object],
    held_out_texts: Sequence[str],
    held_out_labels: Sequence[object],
    longest: int = 1,
) -> float:
    """Return the accuracy of scikit-learn's ``TfidfVectorizer`` and ``LogisticRegression``.

    Args:
        train_texts: To learn words and weights from.
        train_labels: Of one type, one per text.
        held_out_texts: To be judged on.
        held_out_labels: One per text.
        longest: Most words of a feature: 1 for single words, 2 for pairs too.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    # C=10 and these lengths were the better ones on the demo's samples, so that the comparison is a fair one.
    classifier = make_pipeline(
        TfidfVectorizer(ngram_range=(1, longest), sublinear_tf=True), LogisticRegression(C=10.0, max_iter=1000)
    )
    classifier.fit(list(train_texts), list(train_labels))
    return float(classifier.score(list(held_out_texts), list(held_out_labels)))
