"""Metrics of a confusion matrix against scikit-learn."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from sklearn import metrics as sklearn_metrics

from hwnas.metric_names import METRICS
from hwnas.metrics import Metrics, Tally, class_balanced_choice, image_weights

CLASSES = st.integers(2, 25)


@st.composite
def classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, K), no two of an image alike, and labels (N,); classes may lack images."""
    classes, n = draw(CLASSES), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = draw(npst.arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    logits = rng.permuted(np.tile(np.arange(classes, dtype=np.float32), (n, 1)), axis=1)
    logits[np.arange(n), labels] += np.float32(draw(st.sampled_from([0, classes // 2 + 0.5])))
    return logits, labels


@given(classified(), st.integers(1, 60))
def test_all_that_scikit_learn_says(images: tuple[np.ndarray, np.ndarray], batch: int) -> None:
    logits, labels = images
    tally = Tally(logits.shape[1])
    for start in range(0, len(labels), batch):
        tally.add(logits[start : start + batch], labels[start : start + batch])
    found, taken, every = tally.metrics(), logits.argmax(axis=1), np.arange(logits.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without images
        by_class = sklearn_metrics.precision_recall_fscore_support(labels, taken, labels=every, zero_division=0)
        balanced = sklearn_metrics.balanced_accuracy_score(labels, taken)
        top5 = sklearn_metrics.top_k_accuracy_score(labels, logits, k=5, labels=every) if len(every) > 2 else None
    assert (found.confusion == sklearn_metrics.confusion_matrix(labels, taken, labels=every)).all()
    for own, theirs in zip((found.precision, found.recall, found.f1, found.counts), by_class, strict=True):
        np.testing.assert_allclose(own, theirs, atol=1e-12)
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(labels, taken))
    assert found.balanced_accuracy == pytest.approx(balanced)
    assert found.macro_f1 == pytest.approx(sklearn_metrics.f1_score(labels, taken, average="macro", zero_division=0))
    assert found.top5 == (pytest.approx(top5) if len(every) >= 20 else None)
    assert found.n == len(labels)
    content = json.loads(json.dumps(found.to_json(tuple(map(str, every)))))
    assert [content[name] for name in METRICS] == [found.value(name) for name in METRICS]
    again = Metrics.from_json(content)
    assert (again.confusion == found.confusion).all()
    assert again.top5 == found.top5


def test_nothing_is_classified() -> None:
    found = Tally(3).metrics()
    assert [found.value(name) for name in METRICS] == [0.0, 0.0, 0.0]


@given(npst.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 6)))
def test_weighted_images_are_means_over_classes(labels: np.ndarray) -> None:
    values = np.random.default_rng(0).standard_normal(len(labels))
    expected = np.mean([values[labels == label].mean() for label in np.unique(labels)])
    assert (values * image_weights(labels)).mean() == pytest.approx(expected)


@given(npst.arrays(np.int64, st.integers(1, 80), elements=st.integers(0, 6)), st.integers(1, 90))
def test_a_balanced_choice_has_as_many_of_each_class_as_there_are(labels: np.ndarray, count: int) -> None:
    chosen = class_balanced_choice(labels, count)
    assert len(chosen) == min(count, len(labels))
    assert (np.diff(chosen) > 0).all()
    assert (chosen == class_balanced_choice(labels, count)).all()
    counts = np.bincount(labels[chosen], minlength=7)
    lacking = counts < np.bincount(labels, minlength=7)  # classes of which some were left out
    if lacking.any():
        assert counts.max() - counts[lacking].min() <= 1


def test_a_balanced_choice_is_no_prefix() -> None:
    labels = np.repeat(np.arange(10), 100)
    chosen = class_balanced_choice(labels, 50)
    assert (np.bincount(labels[chosen]) == 5).all()
    assert (chosen % 100).max() > 50
    assert (chosen != class_balanced_choice(labels, 50, seed=1)).any()
