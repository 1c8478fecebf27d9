"""The table of named protocols: name and options -> the family of numbers that they stand for.

The makers' docstrings are the descriptions that users read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CoPropError, unknown_name
from ..masks.areas import MIN_AREA_SHARE
from ..parts import parse
from .alignment import Alignment
from .binary import Batch, Binary
from .control_points import ControlPointScores
from .davis import Davis
from .onsets import Onsets
from .semantic import PerDataset, Semantic
from .split import Split
from .sums import Family
from .temporal import Temporal


@dataclass(frozen=True)
class Protocol:
    """A name with its options, and the family of numbers that it stands for.

    Attributes:
        name: canonical, options included where they differ from the defaults.
        description: one line.
        family: ``binary -> Family``.
    """

    name: str
    description: str
    family: Callable[[bool], Family]


def protocol(name: str) -> Protocol:
    """The protocol of a name such as ``avsbench`` or ``avsbench:batch=4,size=224``.

    Raises:
        CoPropError: unknown name (the nearest one is suggested) or option, or a value that is not allowed.
    """
    options = parse(name)
    base = options.pop("name")
    if base not in MAKERS:
        raise unknown_name("protocol", base, [*MAKERS, *GROUPS])
    make = MAKERS[base]
    allowed = _options(make)
    for option in options:
        if option not in allowed:
            raise unknown_name(f"option of the protocol '{base}'", option, allowed)
    make(True, **options), make(False, **options)  # values are checked now, not at the first frame
    changed = ",".join(f"{k}={v}" for k, v in options.items() if v != allowed[k])
    return Protocol(
        name=f"{base}:{changed}" if changed else base,
        description=(make.__doc__ or "").strip(),
        family=lambda binary: make(binary, **options),
    )


def protocols(names: str | Sequence[str]) -> tuple[Protocol, ...]:
    """The protocols of one name or several; a group's name stands for its members."""
    listed = [names] if isinstance(names, str) else list(names)
    expanded = [name for given in listed for name in GROUPS.get(given, (given,))]
    if not expanded:
        raise CoPropError(f"no protocol was named. Allowed: {', '.join(sorted([*MAKERS, *GROUPS]))}.")
    return tuple(protocol(name) for name in dict.fromkeys(expanded))


def describe() -> dict[str, str]:
    """Name -> one line, of every protocol (with its options and their defaults) and group."""
    lines = {}
    for name, make in MAKERS.items():
        options = ", ".join(f"{option}={default}" for option, default in _options(make).items())
        lines[name] = (make.__doc__ or "").strip() + (f" ({options})" if options else "")
    return lines | {name: f"{', '.join(members)} together" for name, members in GROUPS.items()}


def _options(make: Callable[..., Family]) -> dict[str, Any]:
    """Option -> default."""
    return {name: p.default for name, p in inspect.signature(make).parameters.items() if name != "binary"}


def _size(size: Any) -> tuple[int, int] | None:
    """The option ``size``: a square's side in pixels, or ``truth``."""
    if size == "truth":
        return None
    if isinstance(size, int) and size >= 1:
        return size, size
    raise CoPropError(f"size is the side of a square in pixels, or 'truth' for the truth's own size; got {size!r}.")


def _batch(batch: Any) -> Batch:
    if batch == "all" or (isinstance(batch, int) and batch >= 1):
        return batch
    raise CoPropError(f"batch is how many videos are scored together: an integer from 1 on, or 'all'; got {batch!r}.")


def _pad(frames: Any) -> int | None:
    if frames == 0 or (isinstance(frames, int) and frames > 0):
        return frames or None
    raise CoPropError(f"pad is the number of frames that shorter videos are filled up to, 0 for none; got {frames!r}.")


def _number(option: str, value: Any) -> float:
    if isinstance(value, int | float) and value == value:
        return value
    raise CoPropError(f"{option} is a number; got {value!r}.")


def _avsbench(binary: bool, *, batch: Any = 1, size: Any = "truth", pad: Any = 0) -> Family:
    """AVSBench's functions: M_J, M_F of one video a batch, at the truth's size; pad fills AVSS videos up to so many frames"""
    side, videos, frames = _size(size), _batch(batch), _pad(pad)
    return Binary(batch=videos, size=side) if binary else Semantic(pad_frames=frames, size=side)


def _tpavi(binary: bool, *, size: Any = 224) -> Family:
    """AVSBench's own test script: 224x224, batches of 4 videos; AVSS videos padded to 10 frames"""
    return _avsbench(binary, batch=4, size=size, pad=10)


def _avsegformer(binary: bool) -> Family:
    """AVSegFormer's test script: S4 and MS3 at 512x512 in batches of 2 videos; AVSS at 224x224, padded to 10 frames"""
    return _avsbench(binary, batch=2, size=512 if binary else 224, pad=10)


def _catr(binary: bool, *, size: Any = 224) -> Family:
    """CATR's test script: 224x224, one video a batch"""
    return _avsbench(binary, size=size)


def _combo(binary: bool, *, size: Any = 224) -> Family:
    """COMBO's evaluator: 224x224, batches of 8 videos, no padding"""
    return _avsbench(binary, batch=8, size=size)


def _vct(binary: bool, *, size: Any = 224) -> Family:
    """VCT's evaluator: 224x224, one video a batch (M_F takes the best threshold of each video), no padding"""
    return _avsbench(binary, size=size)


def _stepping_stones(binary: bool, *, size: Any = 224) -> Family:
    """Stepping-Stones (AAVS): 224x224, one video; argmax of two channels for M_J, sigmoid(2 l1 - l0) for M_F; no padding"""
    return Binary(rule="two-channel", size=_size(size)) if binary else Semantic(size=_size(size))


def _batch_free(binary: bool, *, size: Any = "truth") -> Family:
    """No batches, so any order and video length: M_J over all frames, binary M_F of one curve over all with an object"""
    return Binary(batch="free", size=_size(size)) if binary else Semantic(size=_size(size))


def _per_dataset(binary: bool, *, size: Any = "truth") -> Family:
    """mIoU and F of pixels pooled over all videos, classes that occur only (mmseg's IoUMetric, CAVP's tables)"""
    return PerDataset(size=_size(size))


def _davis(binary: bool, *, frames: Any = "all", bound_th: Any = 0.008, size: Any = "truth") -> Family:
    """DAVIS 2017: region J and contour F of every object of the truth, with recall and decay"""
    return Davis(frames=frames, bound_th=_number("bound_th", bound_th), size=_size(size))


def _alignment(binary: bool, *, tau: Any = 0.5, min_area: Any = MIN_AREA_SHARE, size: Any = "truth") -> Family:
    """Alignment rate: share of frames whose objects are those that sound, by truth state and distance to its changes"""
    return Alignment(tau=_number("tau", tau), min_area=_number("min_area", min_area), size=_size(size))


def _control_points(binary: bool, *, min_area: Any = MIN_AREA_SHARE, size: Any = "truth") -> Family:
    """Precision, recall, F1 of control points at tolerances 0, 1 and 2 frames; exact lists; any change at all"""
    return ControlPointScores(min_area=_number("min_area", min_area), size=_size(size))


def _onsets(binary: bool, *, within: Any = 3, min_area: Any = MIN_AREA_SHARE, size: Any = "truth") -> Family:
    """When objects start and stop: mean error and lag of onsets and offsets, missed and spurious ones"""
    return Onsets(
        within_frames=int(_number("within", within)), min_area=_number("min_area", min_area), size=_size(size)
    )


def _temporal(binary: bool, *, size: Any = "truth") -> Family:
    """Excess flicker, silent frames, VC2 and VC3 inside portions, STQ with one track per class"""
    return Temporal(size=_size(size))


def _split(binary: bool, *, size: Any = "truth") -> Family:
    """M_J and M_F (batch-free) of keyframes and normal frames apart, by the control points given, else the truth's"""
    return Split(Binary(batch="free") if binary else Semantic(), size=_size(size))


MAKERS: dict[str, Callable[..., Family]] = {
    "avsbench": _avsbench,
    "tpavi": _tpavi,
    "avsegformer": _avsegformer,
    "catr": _catr,
    "combo": _combo,
    "vct": _vct,
    "stepping-stones": _stepping_stones,
    "batch-free": _batch_free,
    "per-dataset": _per_dataset,
    "davis": _davis,
    "alignment": _alignment,
    "control-points": _control_points,
    "onsets": _onsets,
    "temporal": _temporal,
    "split": _split,
}
GROUPS: dict[str, tuple[str, ...]] = {
    "headline": ("avsbench", "alignment", "temporal"),
    "all": (
        "avsbench",
        "batch-free",
        "per-dataset",
        "davis",
        "alignment",
        "control-points",
        "onsets",
        "temporal",
        "split",
    ),
}
