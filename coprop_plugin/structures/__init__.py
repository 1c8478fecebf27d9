"""Data of the project: frozen, checked when made, free of torch."""

from .classes import AVSBENCH_CLASSES, AVSBENCH_NAMES, BINARY
from .clip import Clip, Sound
from .control_points import ControlPoints, Origin, Segment, change_flags, class_sets
from .prediction import Prediction
from .result import Result
from .spool import FrameSpool
from .stack import Frames, FrameStack
from .time_base import Sampling, TimeBase, parse_sampling

__all__ = [
    "AVSBENCH_CLASSES",
    "AVSBENCH_NAMES",
    "BINARY",
    "Clip",
    "ControlPoints",
    "FrameSpool",
    "Frames",
    "FrameStack",
    "Origin",
    "Prediction",
    "Result",
    "Sampling",
    "Segment",
    "Sound",
    "TimeBase",
    "change_flags",
    "class_sets",
    "parse_sampling",
]
