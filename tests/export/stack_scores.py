"""Scores that an app's stack gives, as a program for a Python that has it: `stack_scores.py STACK MODEL IMAGES.npy`.

Prints one JSON object a line: of each image (H, W, 3), uint8, the score of every class by its name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np


def mediapipe(model: str, images: Any) -> Iterator[dict[str, float]]:
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image in images:
            found = classifier.classify(mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image)))
            yield {one.category_name: one.score for one in found.classifications[0].categories}


def task_library(model: str, images: Any) -> Iterator[dict[str, float]]:
    from tflite_support.task import vision

    classifier = vision.ImageClassifier.create_from_file(model)
    for image in images:
        found = classifier.classify(vision.TensorImage.create_from_array(np.ascontiguousarray(image)))
        yield {one.category_name: one.score for one in found.classifications[0].categories}


if __name__ == "__main__":
    stack, model, images = sys.argv[1:]
    for scores in {"mediapipe": mediapipe, "task_library": task_library}[stack](model, np.load(images)):
        print(json.dumps(scores), flush=True)
