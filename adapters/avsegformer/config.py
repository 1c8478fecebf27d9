"""AVSegFormer's published config files, read without running them.

Only assignments are understood, of literals, ``dict(...)`` with keywords, lists, tuples and names that were assigned
before. Anything else (an import, a call, arithmetic) is refused.
"""

from __future__ import annotations

import ast
import reprlib
from pathlib import Path
from typing import Any

from ...errors import CoPropError
from ...files import read_text
from .network import Backbone

LARGEST_BYTES = 1 << 20
TASKS = {"S4Dataset": "s4", "MS3Dataset": "ms3", "V2Dataset": "avss"}
BACKBONES: dict[str, Backbone] = {"pvt_v2_b5": "pvt_v2_b5", "res50": "resnet50"}
# What the network here is built for; a config that asks for something else describes another model.
FIXED = {
    "type": "AVSegFormer",
    "neck": None,
    "audio_dim": 128,
    "embed_dim": 256,
    "head.type": "AVSegHead",
    "head.query_num": 300,
    "head.use_learnable_queries": True,
    "head.fusion_block.type": "CrossModalMixer",
    "head.positional_encoding.type": "SinePositionalEncoding",
    "head.positional_encoding.num_feats": 128,
    "head.transformer.type": "AVSTransformer",
    **{
        f"head.transformer.{part}.{option}": value
        for part in ("encoder", "decoder")
        for option, value in (("num_layers", 6), ("layer.dim", 256), ("layer.ffn_dim", 2048))
    },
    "vggish.postprocess_log_mel_with_pca": False,
}


def variant_of_config(path: str | Path) -> str:
    """The variant that a published config describes, as ``"pvt_v2_b5-ms3"``.

    Raises:
        CoPropError: no such file, Python that would have to be run, or a model of another form.
    """
    path = Path(path)
    config = read_config(path)
    model = config.get("model", {})
    for option, expected in FIXED.items():
        given = _look_up(model, option, default=expected)
        if given != expected:
            raise CoPropError(f"'{path}': model.{option} is {_shown(given)}; this AVSegFormer has {expected!r}.")
    backbone = _choice(path, "model.backbone.type", _look_up(config, "model.backbone.type"), BACKBONES)
    task = _choice(path, "dataset.test.type", _look_up(config, "dataset.test.type"), TASKS)
    classes, expected = _look_up(model, "head.num_classes"), 71 if task == "avss" else 1
    if classes != expected:
        raise CoPropError(f"'{path}': model.head.num_classes is {_shown(classes)}; {task} has {expected}.")
    return f"{backbone}-{task}"


def read_config(path: str | Path) -> dict[str, Any]:
    """All assignments of a config file, by name.

    Raises:
        CoPropError: no such file, or something that is not a plain assignment.
    """
    path = Path(path)
    if not path.is_file():
        raise CoPropError(f"no config file at '{path}' (a Python file of at most {LARGEST_BYTES >> 20} MiB).")
    text = read_text(path, what="a config file", limit_bytes=LARGEST_BYTES)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CoPropError(f"'{path}' is no Python config file: {error}.") from error
    try:
        return _assignments(tree)
    except _NotReadError as refused:
        line = refused.node.lineno
        source = " ".join(text.splitlines()[line - 1].split())[:60]
        raise CoPropError(f"'{path}', line {line}: '{source}' is not read; {refused} (nothing is run).") from None


class _NotReadError(Exception):
    """Something that would have to be run."""

    def __init__(self, node: ast.stmt | ast.expr, rule: str) -> None:
        super().__init__(rule)
        self.node = node


def _assignments(tree: ast.Module) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # a docstring
        if not (isinstance(statement, ast.Assign) and all(isinstance(t, ast.Name) for t in statement.targets)):
            raise _NotReadError(statement, "a config file holds assignments 'name = …' only")
        value = _value(statement.value, names)
        names.update({target.id: value for target in statement.targets if isinstance(target, ast.Name)})
    return names


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.List(elts=items):
            return [_value(item, names) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item, names) for item in items)
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            return {key.value: _value(v, names) for key, v in zip(keys, values, strict=True)}  # type: ignore[union-attr]
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=items) if all(item.arg for item in items):
            return {str(item.arg): _value(item.value, names) for item in items}
    raise _NotReadError(node, "only literals, dict(key=…), lists, tuples and names assigned before are read")


def _look_up(config: Any, dotted: str, *, default: Any = None) -> Any:
    for key in dotted.split("."):
        if not isinstance(config, dict) or key not in config:
            return default
        config = config[key]
    return config


def _choice(path: Path, option: str, given: Any, allowed: dict[str, Any]) -> Any:
    if not isinstance(given, str) or given not in allowed:
        raise CoPropError(f"'{path}': {option} is {_shown(given)}. Allowed: {', '.join(allowed)}.")
    return allowed[given]


def _shown(value: Any) -> str:
    """Shortened: lists that name each other could print without end."""
    return reprlib.repr(value)[:80]
