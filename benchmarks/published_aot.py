"""AOT's published code itself, as a third side of ``propagator.py``: its engine, its network, its way through a clip.

Nothing of it is shipped: ``--published DIR`` names a checkout of the authors' repository, and **runs the Python code in
it**. Its local attention needs the compiled package ``spatial_correlation_sampler`` (built for the CPU with
``CPU_ONLY = True`` in that package's ``setup.py``); without it the published path ends in a shape error.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coprop_plugin.propagators.aot.preprocess import to_input
from coprop_plugin.propagators.base import PropagationTask
from coprop_plugin.structures import Clip


class PublishedAOT:
    """The published model with the benchmark's weights.

    Args:
        checkout: of the authors' repository.
        model: a name that both sides know, such as ``r50_aotl``.
        weights: under the published names.
    """

    def __init__(self, checkout: Path, model: str, weights: dict[str, Tensor], device: str) -> None:
        if not (checkout / "networks" / "engines" / "aot_engine.py").is_file():
            raise SystemExit(
                f"--published {checkout}: no checkout of AOT's published code; networks/engines is missing."
            )
        if importlib.util.find_spec("spatial_correlation_sampler") is None:
            raise SystemExit(
                "--published needs the package spatial_correlation_sampler: build it, or put it on PYTHONPATH."
            )
        if str(checkout) not in sys.path:
            sys.path.insert(0, str(checkout))
        self._config = importlib.import_module("configs.default").DefaultEngineConfig("benchmark", model)
        network = importlib.import_module("networks.models").build_vos_model(self._config.MODEL_VOS, self._config)
        missing, unknown = network.load_state_dict(weights, strict=False)
        assert set(missing) <= {"LSTT.mask_token"} and not unknown, (missing, unknown)
        self._device = torch.device(device)
        self._engine = importlib.import_module("networks.engines").build_engine(
            self._config.MODEL_ENGINE,
            phase="eval",
            aot_model=network.eval().to(device),
            gpu_id=0,
            long_term_mem_gap=self._config.TEST_LONG_TERM_MEM_GAP,
        )

    @torch.inference_mode()
    def run(self, clip: Clip, tasks: list[PropagationTask]) -> Iterator[np.ndarray]:
        """Each task's ``(length, K+1, H, W)`` probabilities, one sequence and one frame at a time."""
        for task in tasks:
            num_objects = len(task.mask) - 1
            masks = [task.mask]
            images = [to_input([clip.frames[t]], self._device).contiguous() for t in range(task.start, task.stop)]
            self._engine.restart_engine()
            labels = torch.from_numpy(task.mask.argmax(axis=0)).to(self._device)[None, None].float()
            self._engine.add_reference_frame(images[0], labels, obj_nums=num_objects, frame_step=0)
            for image in images[1:]:
                self._engine.match_propogate_one_frame(image)
                probability = self._engine.decode_current_logits(clip.size).softmax(dim=1)
                masks.append(probability[0, : num_objects + 1].cpu().numpy())
                self._engine.update_memory(probability.argmax(dim=1, keepdim=True).float())
            yield np.stack(masks)
