"""From a worker's planes to colours on the device; on a GPU the next batch travels beside the current one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer_bridge.augment import Augment
from trainer_bridge.device import check_type, planes_to_rgb
from trainer_bridge.loading import HostBatch


@dataclass
class Flight:
    """A batch on its way to the device.

    Attributes:
        host: what it was read as; its memory is kept until it has arrived.
        planes: where it will be, uint8 `[B, T, H * 3 // 2, W]`.
        valid: likewise, bool `[B, T]`.
        arrived: when it is there, on the device's own clock; None where it is there at once.
    """

    host: HostBatch
    planes: Tensor
    valid: Tensor
    arrived: torch.cuda.Event | None = None


class DeviceFeed:
    """Brings batches to a device and into colours.

    On a GPU a copy runs on a stream of its own out of pinned memory while the step before it computes, and
    nothing here waits for the device. On a CPU the same is done at once.

    Attributes:
        device: where batches end up.
        ahead: how many batches are on their way while one is used: 1 on a GPU, else 0.

    Args:
        dtype: of the pictures; see `planes_to_rgb`.
        augment: changes of the pictures.

    Raises:
        UserError: pictures cannot be of `dtype`.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, augment: Augment | None = None) -> None:
        check_type(dtype)
        self.device = device
        self.ahead = 1 if device.type == "cuda" else 0
        self._dtype = dtype
        self._augment = augment
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._copies: deque[tuple[torch.cuda.Event, torch.cuda.Event]] = deque()

    def start(self, host: HostBatch) -> Flight:
        """Begin to bring a batch to the device."""
        if self._side is None:
            return Flight(host, host.planes.to(self.device), host.valid.to(self.device))
        begun, arrived = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._side):
            begun.record(self._side)
            planes = host.planes.to(self.device, non_blocking=True)
            valid = host.valid.to(self.device, non_blocking=True)
            arrived.record(self._side)
        self._copies.append((begun, arrived))
        return Flight(host, planes, valid, arrived)

    def finish(self, flight: Flight) -> Tensor:
        """The batch's pictures `[B, T, 3, H, W]`; what is computed with them waits for it by itself."""
        if flight.arrived is not None:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(flight.arrived)
            # Else its memory could go to another copy while this stream still reads it.
            flight.planes.record_stream(current)
            flight.valid.record_stream(current)
        if self._augment is None:
            return planes_to_rgb(flight.planes, self._dtype, flight.host.share.colour)
        video = planes_to_rgb(flight.planes, torch.float32, flight.host.share.colour)
        video = self._augment(video, flight.host.draws)
        if self._dtype == torch.uint8:
            return video.mul_(255).round_().to(torch.uint8)
        return video.to(self._dtype)

    def copied_s(self) -> float:
        """Seconds of the device's own time that copies took which have ended since this was last asked."""
        seconds = 0.0
        while self._copies and self._copies[0][1].query():  # type: ignore[no-untyped-call]
            begun, arrived = self._copies.popleft()
            seconds += begun.elapsed_time(arrived) / 1000
        return seconds
