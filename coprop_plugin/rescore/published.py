"""What papers report, to be read beside a run's own numbers; never computed here, and marked so wherever shown."""

from __future__ import annotations

from dataclasses import dataclass

from ..datasets.layouts import LAYOUTS
from ..datasets.write import is_made
from ..errors import CoPropError
from .plan import RunPlan

TABLE_1 = "Co-Prop, arXiv 2412.08161, table 1"
NO_SCRIPT = "AVSBench's functions; batches not stated"
TEST_SCRIPT = "the method's own test script (here: {})"


@dataclass(frozen=True)
class Published:
    """``M_J`` and ``M_F`` in percent as printed.

    Attributes:
        method, backbone: whose numbers.
        dataset: ``s4``, ``ms3`` or ``avss``, the test split.
        m_j, m_f: as printed.
        protocol: the rule as far as the paper or its code tells.
        source: where they are printed.
    """

    method: str
    backbone: str
    dataset: str
    m_j: float
    m_f: float
    protocol: str
    source: str


def published(dataset: str) -> list[Published]:
    """All reported numbers of a data set's test split, in the order of the tables."""
    return [row for row in _rows() if row.dataset == dataset]


def published_beside(plan: RunPlan) -> tuple[Published, ...]:
    """What is printed of the very videos of a run.

    Raises:
        CoPropError: the run is not of the whole published test split, so that no printed number is of its videos.
    """
    counts, found = LAYOUTS[plan.layout].published, len(plan.videos)
    made = next((video.video_id for video in plan.videos if is_made(video)), None)
    if made is not None:
        why = f"these videos are synthetic (as '{made}')"
    elif plan.split != "test":
        why = f"this run is of the split '{plan.split}'"
    elif found != counts["test"]:
        why = f"this table names {found} videos"
    else:
        return tuple(published(plan.layout))
    raise CoPropError(
        f"published numbers are of the test split of the real {plan.layout.upper()} ({counts['test']} videos); {why}. "
        "Leave --published out."
    )


_Scores = tuple[float, float] | None  # J and F

# method: protocol, backbone: S4, MS3, AVSS
_CO_PROP_TABLE: dict[str, tuple[str, dict[str, tuple[_Scores, _Scores, _Scores]]]] = {
    "TPAVI": (
        TEST_SCRIPT.format("tpavi"),
        {
            "ResNet": ((72.8, 84.8), (47.9, 57.8), (20.2, 25.2)),
            "PVT-v2": ((78.7, 87.9), (54.0, 64.5), (29.8, 35.2)),
        },
    ),
    "CATR": (
        TEST_SCRIPT.format("catr"),
        {
            "ResNet": ((74.8, 86.6), (52.8, 65.3), (23.4, 28.6)),
            "PVT-v2": ((81.4, 89.6), (59.0, 70.0), (32.8, 38.5)),
        },
    ),
    "AuTR": (
        NO_SCRIPT,
        {"ResNet": ((75.0, 85.2), (49.4, 61.2), None), "PVT-v2": ((80.4, 89.1), (56.2, 67.2), None)},
    ),
    "AQFormer": (
        NO_SCRIPT,
        {"ResNet": ((77.0, 86.4), (55.7, 66.9), None), "PVT-v2": ((81.6, 89.4), (61.1, 72.1), None)},
    ),
    "BAVS": (
        NO_SCRIPT,
        {
            "ResNet": ((78.0, 85.3), (50.2, 62.4), (24.7, 29.6)),
            "PVT-v2": ((82.0, 88.6), (58.6, 65.5), (32.6, 36.4)),
        },
    ),
    "AVS-BiGen": (
        NO_SCRIPT,
        {"ResNet": ((74.1, 85.4), (45.0, 56.8), None), "PVT-v2": ((81.7, 90.4), (55.1, 66.8), None)},
    ),
    "AVSegFormer": (
        TEST_SCRIPT.format("avsegformer"),
        {
            "ResNet": ((76.4, 86.7), (53.8, 65.6), (26.6, 31.5)),
            "PVT-v2": ((82.1, 89.9), (58.36, 69.3), (37.3, 42.8)),
        },
    ),
    "Co-Prop": (
        NO_SCRIPT,
        {
            "ResNet": ((78.5, 87.2), (57.2, 68.4), (30.2, 35.8)),
            "PVT-v2": ((83.7, 90.9), (63.6, 74.0), (39.6, 44.4)),
        },
    ),
}
# method, backbone, protocol, source, S4, MS3, AVSS
_OTHERS: list[tuple[str, str, str, str, tuple[_Scores, _Scores, _Scores]]] = [
    (
        "AVSegFormer",
        "PVT-v2",
        TEST_SCRIPT.format("avsegformer"),
        "AVSegFormer's released checkpoints, its README",
        ((83.06, 90.5), (61.33, 73.0), (37.31, 42.8)),
    ),
    (
        "COMBO",
        "PVT-v2",
        TEST_SCRIPT.format("combo"),
        "COMBO, CVPR 2024",
        ((84.7, 91.9), (59.2, 71.2), (42.1, 46.1)),
    ),
    (
        "Stepping Stones (AAVS)",
        "Swin-B",
        TEST_SCRIPT.format("stepping-stones"),
        "Stepping Stones, ECCV 2024",
        ((83.2, 91.3), (67.3, 77.6), (48.5, 53.2)),
    ),
    ("VCT", "Swin-B 384", NO_SCRIPT, "VCT, CVPR 2025", ((86.2, 93.4), (67.6, 81.4), (52.5, 56.9))),
    ("SSP", "Swin-B", NO_SCRIPT, "SSP, arXiv 2601.08133", ((85.4, 93.3), (72.3, 84.6), (50.1, 54.5))),
]


def _rows() -> list[Published]:
    table = [
        (method, backbone, protocol, TABLE_1, scores)
        for method, (protocol, backbones) in _CO_PROP_TABLE.items()
        for backbone, scores in backbones.items()
    ]
    return [
        Published(method, backbone, dataset, *printed, protocol, source)
        for method, backbone, protocol, source, scores in [*table, *_OTHERS]
        for dataset, printed in zip(("s4", "ms3", "avss"), scores, strict=True)
        if printed is not None
    ]
