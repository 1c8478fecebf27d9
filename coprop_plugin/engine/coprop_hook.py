"""``CoPropHook``: two lines in a config, and the model's masks follow the sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import HOOKS
from mmengine.structures import BaseDataElement

from ..coprop import CoProp, Result
from ..errors import CoPropError
from ..parts import PartKind
from ..structures import Clip, ControlPoints, Prediction
from .mirror import built_parts
from .refining import RefiningHook


@HOOKS.register_module()
class CoPropHook(RefiningHook):
    """Refine each video of a test or validation loop by Co-Prop and score it by the same metrics.

    ``custom_hooks = [dict(type='CoPropHook', control_points=dict(type='Boundary'), propagator=dict(type='Flow'))]``

    The base model's outputs and metrics stay bit-identical; ``coprop/<metric>`` stands beside them in what
    ``runner.test()`` and ``runner.val()`` return, in the log and the scalars file (``save_best='coprop/mIoU'``).

    Args:
        control_points, propagator, fusion: the parts, as in :class:`coprop_plugin.CoProp`, or ``dict(type=…)``.
        options: those of :class:`~coprop_plugin.engine.refining.RefiningHook`.

    Raises:
        CoPropError: unknown parts or options; in the loop, videos that are not whole.
    """

    def __init__(
        self,
        *,
        control_points: Any = "boundary",
        propagator: Any = "flow",
        fusion: Any = "consensus",
        **options: Any,
    ) -> None:
        parts: dict[PartKind, Any] = {"control_points": control_points, "propagator": propagator, "fusion": fusion}
        super().__init__(parts, **options)
        self.method = CoProp(**built_parts(parts))

    def refine(self, clip: Clip, base: Prediction, samples: Sequence[BaseDataElement]) -> Result:
        return self.method(clip, base)


@HOOKS.register_module()
class AudioInsertPropagatorHook(RefiningHook):
    """Propagate the model's keyframe masks from the control points that each sample's metainfo holds.

    The points come from a :class:`~coprop_plugin.engine.points_hook.RCPGHook`, or from the data set
    (``metainfo['control_points']``); metrics are ``propagated/<metric>``.

    Args:
        propagator: the part; the paper's is ``dict(type='AudioInsertPropagator', checkpoint=…, audio_checkpoint=…)``.
        fusion: ``replace`` is the paper's.
        options: those of :class:`~coprop_plugin.engine.refining.RefiningHook`.
    """

    def __init__(
        self, *, propagator: Any = "flow", fusion: Any = "replace", prefix: str = "propagated", **options: Any
    ) -> None:
        parts: dict[PartKind, Any] = {"propagator": propagator, "fusion": fusion}
        super().__init__(parts, prefix=prefix, **options)
        self.parts = built_parts(parts)

    def refine(self, clip: Clip, base: Prediction, samples: Sequence[BaseDataElement]) -> Result:
        points = samples[0].metainfo.get("control_points")
        if not isinstance(points, ControlPoints):
            raise CoPropError(
                f"video '{clip.clip_id}': its samples hold no control points. Put dict(type='RCPGHook', …) into "
                "custom_hooks as well, or use the CoPropHook, which finds them itself."
            )
        return CoProp(control_points=points, **self.parts)(clip, base)
