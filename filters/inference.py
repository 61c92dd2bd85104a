"""Runs the small networks whose weights lie in `filters/weights/`.

They are files of ours, not of a package that may bring others tomorrow: scores depend on them, and
whoever changes one raises the scorer's `version`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_WEIGHTS = Path(__file__).with_name("weights")


class Network:
    """One network, run by this thread alone: as often as it is asked, the answer is the same.

    Args:
        name: of a file in `filters/weights/`, without its suffix; it has one input.
    """

    def __init__(self, name: str) -> None:
        # Not at import time: it takes a third of a second.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Pictures come in many sizes; an arena would keep room for each.
        options.enable_cpu_mem_arena = False
        self._session: InferenceSession = onnxruntime.InferenceSession(
            str(_WEIGHTS / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, pictures: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """The network's outputs for `[B, 3, H, W]` float32."""
        outputs: list[npt.NDArray[np.float32]] = self._session.run(None, {self._input: pictures})
        return outputs
