"""Near-duplicates: which clips show the same footage, found by their fingerprints.

A frame's hash of `filters.fingerprint` seldom survives whole; half of its bits often do. So every hash
has two bands of bits, and frames that agree in one band propose a pair of clips and a shift in time.
That one in four bands is looked at is decided by the band's own value: equal footage is sampled at the
same frames wherever its clips begin (FracMinHash; Irber et al. 2022). Each proposal is then tested
over time: at its shift, the longest run in which changes agree has to outweigh what does not. What
was found says how two videos lie to each other; at that shift their other clips are tested too, and
less is asked of them.

What this leaves out:

* a band that many clips share proposes, for each, only the `BUCKET_WIDTH` clips that follow in the
  order of their keys: a pair that shares nothing but such bands, and is further apart, is not found;
* two videos without a pair of clips that have `MIN_EVIDENCE_S` of change in common match nowhere; nor do
  those whose change repeats itself throughout (an idle player before a moving background);
* pictures scaled within their frame by more than a tenth, or mirrored.

A million synthetic clips take 63 s on one core, and 1.4 GB above their 1.6 GB of fingerprints (`genieset
bench duplicates --clips 1000000`); a pass has 33 bands a clip, and 4.4 pairs a clip are proposed. For 55
million clips, which was never tried, that makes 88 GB of fingerprints and 15 GB of bands a pass. Pairs
proposed by chance grow with the square, to some ten thousand million, which is more than this module can
hold at once: it takes 2^24 clips at most. Passes need nothing of each other, nor do ranges of a pass's
values, so they can be shared out to machines or sorted on disk; rarer samples propose less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filters.fingerprint import (
    FINGERPRINT_FPS,
    FRAMES,
    INNER_SLOTS,
    INNER_STEP_FRAMES,
    LAG_FRAMES,
    SLOTS,
    WHOLE_SLOTS,
    Hashes,
)

MIN_EVIDENCE_S = 3.0
"""So much agreeing change, net of what disagrees, makes a pair of clips by itself."""

MIN_FURTHER_S = 0.5
"""So much does between two videos of which another pair was found, at the same shift."""

MAX_BITS = 12
"""Hashes agree that differ in so many of their 63 bits. Of equal footage 99 of 100 do; of other footage of
the same game one in 200 does."""

BUCKET_WIDTH = 64

_MIN_EVIDENCE = int(MIN_EVIDENCE_S * FINGERPRINT_FPS)
_MIN_FURTHER = int(MIN_FURTHER_S * FINGERPRINT_FPS)
# What disagrees weighs more: a run may not be bridged over another scene.
_DISAGREES = -2
# Of two hashes one says that nothing changed: it may have been little for both.
_ONE_STILL = -1
# A third of the evidence has to be such that the clip has it once.
_OVER_REPEATS = 1.5
_REPEAT_SHIFTS = range(LAG_FRAMES, FRAMES - LAG_FRAMES - _MIN_EVIDENCE // 2)

_BANDS = (np.uint64(0x5555555555555555 & ~(1 << 63)), np.uint64(0x2AAAAAAAAAAAAAAA))
_SAMPLED = np.uint64(3)
_ROW_BITS, _SLOT_BITS, _SHIFT_BITS = 24, 8, 9
MAX_CLIPS = 1 << _ROW_BITS
_CHUNK = 1 << 14

Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """Pairs of clips that share footage, each once; arrays of one length, sorted.

    Attributes:
        first, second: rows of the two clips, `first < second`.
        shift: frame t of the second shows what frame t + shift of the first does.
        start, stop: the frames of the second that are shared.
    """

    first: Int
    second: Int
    shift: Int
    start: Int
    stop: Int

    def __len__(self) -> int:
        return len(self.first)

    def among(self, rows: Int) -> Matches:
        """The matches between some of the clips, in the same order.

        Args:
            rows: `[N]`, for each clip its new row; rising, but for -1, of a clip that is left out.
        """
        first, second = rows[self.first], rows[self.second]
        left = (first >= 0) & (second >= 0)
        return Matches(first[left], second[left], self.shift[left], self.start[left], self.stop[left])


@dataclass
class Effort:
    """What finding the matches took: for whoever measures it."""

    entries: int = 0
    candidates: int = 0


def find_matches(fingerprints: Hashes, videos: Int, starts: Int, effort: Effort | None = None) -> Matches:
    """All pairs of clips that share footage, as far as the module says.

    Args:
        fingerprints: `[N, SLOTS]` uint64, N up to 2^24. Which pairs an over-full band proposes depends
            on the order of the rows: give them sorted by key.
        videos: `[N]`, a number for each video, below 2^31.
        starts: `[N]`, each clip's first frame in its video, at `FINGERPRINT_FPS`.
        effort: is told what it took.

    Raises:
        ValueError: there are too many rows.
    """
    if len(fingerprints) > MAX_CLIPS:
        raise ValueError(f"{len(fingerprints)} fingerprints; {MAX_CLIPS} can be compared at once")
    effort = effort or Effort()
    proposed = [np.zeros(0, np.uint64)]
    for band in _BANDS:
        entries = _entries(fingerprints, band)
        effort.entries += len(entries)
        proposed += _proposals(entries)
        del entries
    candidates = np.unique(np.concatenate(proposed))
    effort.candidates = len(candidates)
    found = _best_of_each_pair(_verified(fingerprints, candidates, _MIN_EVIDENCE))
    found = found[_not_by_repetition(fingerprints, found)]
    further = _verified(fingerprints, _in_line_with(found, videos, starts), _MIN_FURTHER)
    found = _best_of_each_pair(np.concatenate([found, further]))
    return Matches(*found[:, :5].T)


def _in_line_with(found: Int, videos: Int, starts: Int) -> npt.NDArray[np.uint64]:
    """Proposals of all clips of two videos that overlap at a shift at which a pair of theirs was found."""
    order = np.lexsort([starts, videos])
    places = (videos << 32 | starts)[order]
    first, second, shift, _, _, _, view = found.T
    # How many frames later the first's video shows what the second's does.
    later = starts[first] + shift - starts[second]
    lines = np.unique(np.stack([videos[first], videos[second], later, view], axis=1), axis=0)
    one, other, later, view = lines.T
    begin, end = (np.searchsorted(places, video << 32) for video in (other, other + 1))
    line = np.repeat(np.arange(len(lines)), end - begin)
    theirs = order[np.arange(len(line)) - np.repeat(np.cumsum(end - begin) - end, end - begin)]
    place = (one[line] << 32) + starts[theirs] + later[line]
    low, high = (np.searchsorted(places, place + edge) for edge in (1 - WHOLE_SLOTS, WHOLE_SLOTS))
    proposed = [np.zeros(0, np.uint64)]
    for step in range(int((high - low).max(initial=0))):
        more = np.flatnonzero(low + step < high)
        ours, these = order[low[more] + step], theirs[more]
        # A video may be near its beginning, and the range reach into the one before.
        good = (videos[ours] == one[line[more]]) & (ours != these)
        ours, these, more = ours[good], these[good], more[good]
        proposed.append(
            _pack(ours, these, starts[these] + later[line[more]] - starts[ours], view[line[more]])
        )
    return np.unique(np.concatenate(proposed))


def _pack(first: Int, second: Int, shift: Int, view: Int) -> npt.NDArray[np.uint64]:
    """Proposals in 64 bits each, with the smaller row first."""
    swap = first > second
    shift = np.where(swap, -shift, shift) + WHOLE_SLOTS
    view = np.where(swap, np.array([0, 2, 1, 3])[view], view)
    rows = np.minimum(first, second) << _ROW_BITS | np.maximum(first, second)
    packed: npt.NDArray[np.uint64] = ((rows << _SHIFT_BITS | shift) << 2 | view).astype(np.uint64)
    return packed


def _entries(fingerprints: Hashes, band: np.uint64) -> npt.NDArray[np.uint64]:
    """The sampled bands of all hashes, sorted: 32 bits of a band's hash, 24 of its row, 8 of its slot.

    Of equal ones of a clip, the first of each view is kept.
    """
    parts = []
    for start in range(0, len(fingerprints), _CHUNK):
        part = fingerprints[start : start + _CHUNK]
        mixed = _mix(part & band)
        row, slot = np.nonzero((part != 0) & ((mixed & _SAMPLED) == 0))
        value = mixed[row, slot] >> np.uint64(32) << np.uint64(32)
        place = (row + start) << _SLOT_BITS | slot
        parts.append(value | place.astype(np.uint64))
    entries = np.concatenate(parts) if parts else np.zeros(0, np.uint64)
    entries.sort()
    same = (entries[1:] >> np.uint64(_SLOT_BITS)) == (entries[:-1] >> np.uint64(_SLOT_BITS))
    same &= (_slot(entries[1:]) < WHOLE_SLOTS) == (_slot(entries[:-1]) < WHOLE_SLOTS)
    kept: npt.NDArray[np.uint64] = entries[np.concatenate([np.ones(min(1, len(entries)), bool), ~same])]
    return kept


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of each: the finaliser of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _slot(entries: npt.NDArray[np.uint64]) -> Int:
    return (entries & np.uint64((1 << _SLOT_BITS) - 1)).astype(np.int64)


def _proposals(entries: npt.NDArray[np.uint64]) -> Iterator[npt.NDArray[np.uint64]]:
    """Pairs of rows with a shift and the views that agreed, packed; each once for a distance."""
    value = (entries >> np.uint64(32)).astype(np.uint32)
    left = np.arange(len(entries))
    for distance in range(1, 2 * BUCKET_WIDTH + 1):  # a clip may have an entry for each of its two views
        left = left[left < len(entries) - distance]
        left = left[value[left] == value[left + distance]]
        if not len(left):
            return
        a, b = entries[left], entries[left + distance]
        row_a, row_b = (_row(entry) for entry in (a, b))
        slot_a, slot_b = _slot(a), _slot(b)
        inner_a, inner_b = slot_a >= WHOLE_SLOTS, slot_b >= WHOLE_SLOTS
        good = (row_a != row_b) & ~(inner_a & inner_b)
        packed = _pack(row_a, row_b, _frame(slot_a) - _frame(slot_b), inner_a + 2 * inner_b)
        yield np.unique(packed[good])


def _row(entries: npt.NDArray[np.uint64]) -> Int:
    return (entries >> np.uint64(_SLOT_BITS) & np.uint64(MAX_CLIPS - 1)).astype(np.int64)


def _frame(slot: Int) -> Int:
    return np.where(slot < WHOLE_SLOTS, slot, (slot - WHOLE_SLOTS) * INNER_STEP_FRAMES)


def _verified(fingerprints: Hashes, candidates: npt.NDArray[np.uint64], least: int) -> Int:
    """Those that stand the test: `[n, 7]` of first, second, shift, start, stop, evidence, view.

    Args:
        least: so many frames of evidence are asked.
    """
    parts = [np.zeros((0, 7), np.int64)]
    for start in range(0, len(candidates), _CHUNK):
        packed = candidates[start : start + _CHUNK].astype(np.int64)
        views, packed = packed & 3, packed >> 2
        shift, packed = (packed & ((1 << _SHIFT_BITS) - 1)) - WHOLE_SLOTS, packed >> _SHIFT_BITS
        first, second = packed >> _ROW_BITS, packed & (MAX_CLIPS - 1)
        for view in range(3):
            chosen = np.flatnonzero(views == view)
            rows, by = (first[chosen], second[chosen]), shift[chosen]
            if view == 1:  # the first has a border: time is counted in the first
                begin, end, evidence = _agreement(fingerprints, *rows[::-1], -by, inner=True)
                begin, end = begin - by, end - by
            else:
                begin, end, evidence = _agreement(fingerprints, *rows, by, inner=view == 2)
            found = np.stack([*rows, by, begin, end, evidence, np.full(len(by), view)], axis=1)
            parts.append(found[evidence >= least])
    return np.concatenate(parts)


def _agreement(
    fingerprints: Hashes, first: Int, second: Int, shift: Int, *, inner: bool
) -> tuple[Int, Int, Int]:
    """The best run of agreeing change at a shift: its frames in the second, and how much it outweighs.

    It is the run of the largest sum (a local alignment without gaps), prolonged over frames at both
    ends in which nothing changed: where all change was equal, the still after it is equal too.

    Args:
        inner: whether the second is seen without its border.
    """
    step = INNER_STEP_FRAMES if inner else 1
    slots = np.arange(INNER_SLOTS if inner else WHOLE_SLOTS)
    there = slots * step + shift[:, None]
    inside = (there >= 0) & (there < WHOLE_SLOTS)
    ours = fingerprints[first[:, None], np.clip(there, 0, WHOLE_SLOTS - 1)]
    theirs = fingerprints[second[:, None], slots + (WHOLE_SLOTS if inner else 0)]
    agrees = np.where(np.bitwise_count(ours ^ theirs) <= MAX_BITS, 1, _DISAGREES)
    moves = (ours != 0).astype(np.int8) + (theirs != 0)
    weight = np.where(inside, np.choose(moves, [0, _ONE_STILL, agrees]), 0)
    total = np.zeros((len(first), len(slots) + 1), np.int64)
    np.cumsum(weight, axis=1, out=total[:, 1:])
    gain = total - np.minimum.accumulate(total, axis=1)
    stop = gain.argmax(axis=1)
    each = np.arange(len(first))
    evidence = gain[each, stop]
    # Where the run began: the last of the places at which the total was lowest before it.
    lowest = (total == (total[each, stop] - evidence)[:, None]) & (np.arange(len(slots) + 1) < stop[:, None])
    start = len(slots) - lowest[:, ::-1].argmax(axis=1)
    # Over what says nothing, on to what disagrees or to where one of the clips ends.
    wall = ~inside | (weight < 0)
    before = np.where(wall & (slots < start[:, None]), slots + 1, 0).max(axis=1)
    after = np.where(wall & (slots >= stop[:, None]), slots, len(slots)).min(axis=1)
    first_there, past_there = np.maximum(0, -shift), np.minimum(FRAMES, FRAMES - shift)
    at_end = after * step >= np.minimum(WHOLE_SLOTS, WHOLE_SLOTS - shift)
    begin = np.maximum(before * step, first_there)
    end = np.where(at_end, past_there, np.minimum(after * step + LAG_FRAMES, past_there))
    return begin, end, evidence * step


def _best_of_each_pair(found: Int) -> Int:
    """The shift and view with the most evidence for each pair of rows."""
    order = np.lexsort([found[:, 6], found[:, 2], -found[:, 5], found[:, 1], found[:, 0]])
    found = found[order]
    new = np.ones(len(found), bool)
    new[1:] = (found[1:, :2] != found[:-1, :2]).any(axis=1)
    return found[new]


def _not_by_repetition(fingerprints: Hashes, found: Int) -> npt.NDArray[np.bool_]:
    """Whether a pair's evidence is more than what one of the clips agrees with itself, at other times."""
    rows = np.unique(found[:, :2])
    repeats = np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), _CHUNK):
        part = fingerprints[rows[start : start + _CHUNK], :WHOLE_SLOTS].T.copy()
        for shift in _REPEAT_SHIFTS:
            one, other = part[shift:], part[:-shift]
            both = (one != 0) & (other != 0)
            agree = both & (np.bitwise_count(one ^ other) <= MAX_BITS)
            weight = (1 - _DISAGREES) * agree.sum(axis=0) + _DISAGREES * both.sum(axis=0)
            np.maximum(repeats[start : start + _CHUNK], weight, out=repeats[start : start + _CHUNK])
    first, second = (repeats[np.searchsorted(rows, found[:, side])] for side in (0, 1))
    kept: npt.NDArray[np.bool_] = found[:, 5] >= _OVER_REPEATS * np.minimum(first, second)
    return kept


assert SLOTS < 1 << _SLOT_BITS
assert 2 * WHOLE_SLOTS < 1 << _SHIFT_BITS
