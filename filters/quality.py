"""How good people would say that a clip is: the learned classifier."""

from __future__ import annotations

from collections.abc import Sequence

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

        # A unit has one core; and sums of equal parts in equal order are equal.
        torch.set_num_threads(1)
        self.argument = argument
        self._classifier = load_classifier(argument)
        self._at_once = False

    def to(self, device: str) -> None:
        """See `Scorer.to`."""
        import torch

        from filters.classifier.backbones import check_device

        check_device(device)
        self._classifier.model.to(device)
        self._at_once = torch.device(device).type == "cuda"
        # Ten bits of a float are too few for four decimals of a score.
        torch.backends.cudnn.allow_tf32 = False

    def measure(self, clip: ClipFrames) -> dict[str, float]:
        """`quality` and `quality_confidence`, 0 to 1, to four decimals."""
        return self.measure_many([clip])[0]

    def measure_many(self, clips: Sequence[ClipFrames]) -> list[dict[str, float]]:
        """`measure` of each clip; on a GPU all go through the model at once.

        On a CPU each goes by itself: that is no slower, and its sums are those it has in every other pack.
        """
        import numpy as np

        from filters.classifier.calibrate import confidence, quality
        from filters.classifier.evaluate import frame_logits

        look, temperature = self._classifier.card.look, self._classifier.card.temperature
        logits_of = frame_logits(self._classifier)
        pictures = [look.take(clip) for clip in clips]
        together = [np.concatenate(pictures)] if self._at_once else pictures
        logits = np.concatenate([logits_of(part) for part in together]).reshape(len(clips), -1)
        return [
            {"quality": float(good), "quality_confidence": float(sure)}
            for good, sure in zip(quality(logits, temperature), confidence(logits, temperature), strict=True)
        ]
