"""Metrics of a confusion matrix against scikit-learn."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats
from sklearn import metrics as sklearn_metrics

from hwnas.metric_names import METRICS
from hwnas.metrics import (
    Metrics,
    Tally,
    as_good,
    class_balanced_choice,
    confusion_of,
    difference_error,
    image_weights,
    share_error,
    standard_error,
    stratified_choice,
)

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
    assert (tally.right() == (taken == labels)).all()
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


@pytest.mark.parametrize(
    ("count", "least"), [(50, 10), (200, 10), (437, 10), (30, 10), (999, 0), (1000, 10), (5000, 3)]
)
def test_a_stratified_choice_has_the_shares_of_the_classes(count: int, least: int) -> None:
    sizes = np.array([600, 300, 80, 15, 4, 1])
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(6) * 2, sizes))
    chosen = stratified_choice(labels, count, least)
    assert len(np.unique(chosen)) == len(chosen) == min(count, 1000)
    assert (np.sort(chosen) == chosen).all()
    assert (stratified_choice(labels, count, least) == chosen).all()
    found = np.bincount(labels[chosen], minlength=11)[::2]
    assert (found <= sizes).all()
    floors = np.minimum(sizes, least)
    if floors.sum() < count:
        assert (found >= floors).all()
        rest = (count - floors.sum()) / (1000 - floors.sum()) if least * 6 < 1000 else 1.0
        assert np.abs(found - floors - min(1.0, rest) * (sizes - floors)).max() <= 1
    else:
        assert found.max() - found[sizes >= found.max()].min() <= 1


@pytest.mark.parametrize("classes", [50, 51, 1000])
def test_the_matrix_of_many_classes_is_written_without_its_zeros(classes: int) -> None:
    rng, tally = np.random.default_rng(0), Tally(classes)
    for _ in range(4):
        tally.add(rng.normal(size=(500, classes)), rng.integers(0, classes, 500))
    found = tally.metrics()
    text = json.dumps(found.to_json(tuple(map(str, range(classes)))))
    assert Metrics.from_json(json.loads(text)) == found
    assert isinstance(json.loads(text)["confusion"], dict) is (classes > 50)
    assert len(text) < 200_000


@pytest.mark.parametrize(
    "content",
    [
        *(None, 3, [], [[1, 2]], [[1], [2]], [[1, 2], [3, -1]], [[1, 2], [3, 1.5]], {}, {"entries": 3}),
        *({"entries": [row]} for row in ([0, 0], [0, 2, 1], [0, 0, -1], [0, 0, True], [0, 0, 10**30])),
    ],
)
def test_another_thing_is_no_matrix(content: object) -> None:
    with pytest.raises(ValueError, match="confusion matrix"):
        confusion_of(content, 2)


@pytest.mark.parametrize("balanced", [False, True])
def test_standard_errors_are_how_far_chance_goes(balanced: bool) -> None:
    """Of 500 draws of 300 images, of which one class is rare, and two networks that are equally good."""
    rng = np.random.default_rng(0)
    labels = (np.arange(300) < 60).astype(np.int64)
    weights = image_weights(labels) if balanced else np.ones(300)
    before, after = rng.random((2, 500, 300)) < 0.8
    shares = [(weights * one).sum(axis=1) / 300 for one in (before, after)]
    errors = [difference_error(one, other, weights) for one, other in zip(before, after, strict=True)]
    assert np.mean(errors) == pytest.approx((shares[0] - shares[1]).std(), rel=0.1)
    if not balanced:
        assert np.mean([share_error(share, 300) for share in shares[0]]) == pytest.approx(shares[0].std(), rel=0.1)


def test_a_few_images_that_all_are_alike_prove_little() -> None:
    same = np.ones(9, np.bool_)
    assert difference_error(same, same, np.ones(9)) == pytest.approx(1 / 9)
    assert 0.1 < share_error(1.0, 9) < 0.2
    assert share_error(0.5, 100) == pytest.approx(0.05)


def test_losses_are_as_good_within_an_error_of_their_differences() -> None:
    """Hard images are hard for both, so that differences tell what the two means alone do not."""
    rng = np.random.default_rng(0)
    hard, own = rng.exponential(3.0, 200), rng.normal(0.0, 0.1, 200)
    error = float(stats.sem(own, ddof=0))
    assert standard_error(own) == pytest.approx(error)
    differences = own - own.mean()
    for shift, errors, expected in ((-1.0, 1.0, True), (0.9, 1.0, True), (1.1, 1.0, False), (1.1, 2.0, True)):
        assert as_good(hard + differences + shift * error, hard, errors) is expected
    assert standard_error(hard) > 10 * error
    assert as_good(hard, hard)
    assert not as_good(np.full(3, np.nan), hard[:3])
