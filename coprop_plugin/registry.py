"""What MMEngine looks for by name: ``coprop_plugin.registry``.

Classes stand in MMEngine's root registries, so that plain names work in every scope (``type='CoPropHook'``), and in
the registries here, children of the root's, which ``type='coprop_plugin.CoPropHook'`` and ``_scope_`` look into.

The parts of the project (``coprop_plugin.parts``) are mirrored by one rule: ``type`` is the class's own name
(``control_points=dict(type='ChangePoint', penalty=…)``), or the part's (``type='changepoint'``).
"""

from __future__ import annotations

from .openmmlab import prepare_mmengine

prepare_mmengine()

from mmengine import registry as root  # noqa: E402

SCOPE = "coprop_plugin"


def _child(parent: root.Registry) -> root.Registry:
    """A child of a root registry, filled below; mmengine imports ``locations`` before it looks a name up."""
    return root.Registry(parent.name, parent=parent, scope=SCOPE, locations=["coprop_plugin.registry"])


DATASETS = _child(root.DATASETS)
DATA_SAMPLERS = _child(root.DATA_SAMPLERS)
EVALUATOR = _child(root.EVALUATOR)
FUNCTIONS = _child(root.FUNCTIONS)
HOOKS = _child(root.HOOKS)
LOG_PROCESSORS = _child(root.LOG_PROCESSORS)
LOOPS = _child(root.LOOPS)
METRICS = _child(root.METRICS)
MODELS = _child(root.MODELS)
MODEL_WRAPPERS = _child(root.MODEL_WRAPPERS)
OPTIM_WRAPPERS = _child(root.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(root.OPTIM_WRAPPER_CONSTRUCTORS)
OPTIMIZERS = _child(root.OPTIMIZERS)
PARAM_SCHEDULERS = _child(root.PARAM_SCHEDULERS)
RUNNERS = _child(root.RUNNERS)
TRANSFORMS = _child(root.TRANSFORMS)
VISBACKENDS = _child(root.VISBACKENDS)
VISUALIZERS = _child(root.VISUALIZERS)

from .engine import (  # noqa: E402, F401 - importing them registers their classes
    adapter_model,
    avsbench,
    coprop_hook,
    metrics,
    points_hook,
    samplers,
    segmentor,
    transforms,
)
from .engine.mirror import ADAPTERS, CONTROL_POINTS, FUSIONS, PROPAGATORS  # noqa: E402, F401

for child in (DATASETS, DATA_SAMPLERS, HOOKS, METRICS, MODELS, TRANSFORMS):
    for name, made in child.parent.module_dict.items():
        if made.__module__.startswith(f"{SCOPE}."):
            child.register_module(name=name, module=made)
