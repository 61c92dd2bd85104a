"""How good people would say that a clip is: the learned classifier."""

from __future__ import annotations

from filters.base import ClipFrames, Scorer


class Quality(Scorer):
    """The probability that a clip is good, and how sure the classifier is of that.

    `quality` is calibrated on held-out labels (temperature scaling, Guo et al. 2017): of the clips with
    0.8, about 80 in 100 are good, if they are like those that were labelled good or bad. Near 0 or 1 with a
    low `quality_confidence`, the frames of the clip disagree; see `filters.classifier.calibrate`.

    On one shared core of an AMD EPYC a clip costs 113 ms with ResNet18 on 8 frames and 809 ms with
    open_clip's ViT-B-32; 1.7 and 6.3 ms of that make RGB pictures of the frames.

    Args:
        argument: the folder of a classifier; its name is the classifier's id.

    Raises:
        UserError: there is no classifier, or it is damaged.
    """

    name = "quality"
    version = 1
    argument_is = "a trained classifier's folder"
    ranges = {"quality": (0.0, 1.0), "quality_confidence": (0.0, 1.0)}

    def __init__(self, argument: str) -> None:
        import torch

        from filters.classifier.artifact import load_classifier
        from filters.classifier.evaluate import frame_logits

        # A unit has one core; and sums of equal parts in equal order are equal.
        torch.set_num_threads(1)
        self.argument = argument
        self._classifier = load_classifier(argument)
        self._logits = frame_logits(self._classifier)

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """`quality` and `quality_confidence`, 0 to 1, to four decimals."""
        from filters.classifier.calibrate import confidence, quality

        look, temperature = self._classifier.card.look, self._classifier.card.temperature
        logits = self._logits(look.take(clip))[None]
        return {
            "quality": float(quality(logits, temperature)[0]),
            "quality_confidence": float(confidence(logits, temperature)[0]),
        }
