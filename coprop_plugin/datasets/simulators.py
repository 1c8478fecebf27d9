"""Base models that err in one known way: which objects they believe to sound, and how well they draw them.

A simulator gives the shape that an object has in the current frame: a lagging model still segments the pixels where
the object is now. All but ``perfect`` draw with small contour errors and varying confidence (IoU about 0.9 with a
rightly believed object). Everything follows from ``(seed, frame, object)``: frames may be read in any order.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import CoPropError, unknown_name
from ..structures import FrameStack, Prediction
from . import beliefs, faults
from .scene import Scene

_EDGE_PX = 1.5  # how soft edges are: the score's scale in pixels of distance
_CONTOUR_SHARE = 0.055  # standard deviation of the contour, in radii of the object; gives an IoU of about 0.9
_COARSE_SHARE = 0.1  # smoothing, and dilation or erosion, of `coarse`, in radii and strength
_FAR_PX = 40.0  # beyond this distance from an edge nothing gets any surer
_CONFIDENCE = (0.5, 1.3)  # how steeply probabilities rise from an edge, drawn per frame and object


def simulate(scene: Scene, name: str, *, strength: float = 1, seed: int = 0) -> Prediction:
    """What an imperfect base model says of a scene.

    ============== ====================================================================================
    name           meaning of ``strength`` k
    ============== ====================================================================================
    perfect        none: the truth with soft edges, whose 0.5 level set is exactly the truth
    lag            the set of sounding objects arrives k frames late (before that: the first frame's set)
    linger         objects stay k frames after they stop
    early          objects appear k frames before they start
    flicker        a share 0.15 k of the (frame, object) states, drawn without repetition, is toggled
    ignore_sound   1: all visible objects whenever anything sounds; 2: in silence as well
    leak           k objects that are silent at some time are kept throughout
    coarse         contours smoothed, and dilated or eroded (an object's own sign), by 0.1 k radii
    drop_touching  k frames lack one of the sounding objects, where two touch if any do
    wrong_object   in k segments the sounding objects are taken for others
    together       k frames show nothing, k others all visible objects
    split          a gap runs through the masks of a share 0.3 k of the frames
    merge          bridges join near regions in a share 0.3 k of the frames
    jitter         contours breathe from frame to frame
    partial        one side of what is shown is missing in a share 0.3 k of the frames
    blobs          a disc where nothing is in a share 0.3 k of the frames
    fade           masks shrink over k frames towards the ends of what is shown
    resolution     half of the frames are drawn on a grid of 8 k pixels
    confusion      classes take each other's masks in a share 0.3 k of the frames
    ============== ====================================================================================

    From ``drop_touching`` on they are *unmodelled*: no policy knows of them, and nothing is fitted on them.

    Args:
        scene: what is true.
        name: the error.
        strength: how much of it; whole frames or objects but for ``flicker`` and ``coarse``.
        seed: any integer from 0 on.

    Returns:
        Probabilities ``(T, K+1, H, W)`` that sum to 1, computed when read; a channel per class of the scene, or the
        union where the scene is binary.

    Raises:
        CoPropError: an unknown name, or a strength that means nothing to it.
    """
    believed = believed_states(scene, name, strength=strength, seed=seed)
    painter = _Painter(scene, believed, seed, name, float(strength))
    scores = FrameStack(
        painter.scores,
        num_frames=scene.num_frames,
        frame_shape=(len(scene.class_ids) + 1, *scene.size),
        dtype=np.float32,
    )
    names = scene.names if scene.labelling == "semantic" else {}
    source = f"{scene.source}: {name}:{strength:g} seed {seed}"
    return Prediction(scores=scores, kind="probability", class_ids=scene.class_ids, names=names, source=source)


def believed_states(scene: Scene, name: str, *, strength: float = 1, seed: int = 0) -> np.ndarray:
    """``(T, O) bool``: which objects :func:`simulate` draws with the same arguments (and raises the same errors)."""
    if seed < 0:
        raise CoPropError(f"{name}: needs a seed from 0 on, got {seed}.")
    believe = find_simulator(name, strength).believe
    return believe(scene, strength, np.random.default_rng((seed, len(scene.sounding))))


def find_simulator(name: str, strength: float) -> Simulator:
    """The simulator of that name, if it can have that strength.

    Raises:
        CoPropError: an unknown name, or a strength that means nothing to it.
    """
    if name not in SIMULATORS:
        raise unknown_name("simulator", name, SIMULATORS)
    rule = SIMULATORS[name]
    if not 0 < strength <= rule.most:
        raise CoPropError(f"{name}: its strength lies above 0, at most {rule.most:g} {rule.unit}; got {strength}.")
    if rule.whole and strength != int(strength):
        raise CoPropError(f"{name}: its strength counts whole {rule.unit}, got {strength}.")
    return rule


@dataclass(frozen=True)
class Simulator:
    """One error: which states it believes, what its strength counts, and how it draws wrongly."""

    believe: beliefs.Believe
    unit: str
    most: float
    whole: bool = True
    fault: faults.Fault | None = None


_HITS = ("shares of 0.3", 1 / faults.HIT_SHARE, False)
SIMULATORS: dict[str, Simulator] = {
    "perfect": Simulator(beliefs.truth, "(it has no effect)", 1000),
    "lag": Simulator(beliefs.lag, "frames", 1000),
    "linger": Simulator(beliefs.linger, "frames", 1000),
    "early": Simulator(beliefs.early, "frames", 1000),
    "flicker": Simulator(beliefs.flicker, "shares of 0.15", 1 / beliefs.FLICKER_SHARE, whole=False),
    "ignore_sound": Simulator(beliefs.ignore_sound, "steps", 2),
    "leak": Simulator(beliefs.leak, "objects", 1000),
    "coarse": Simulator(beliefs.truth, "tenths of a radius", 4, whole=False),
    "drop_touching": Simulator(beliefs.drop_touching, "frames", 1000),
    "wrong_object": Simulator(beliefs.wrong_object, "segments", 1000),
    "together": Simulator(beliefs.together, "pairs of frames", 1000),
    "split": Simulator(beliefs.truth, *_HITS, faults.split),
    "merge": Simulator(beliefs.truth, *_HITS, faults.merge),
    "jitter": Simulator(beliefs.truth, "fifths of a depth", 4, False, faults.jitter),
    "partial": Simulator(beliefs.truth, *_HITS, faults.partial),
    "blobs": Simulator(beliefs.truth, *_HITS, faults.blobs),
    "fade": Simulator(beliefs.truth, "frames", 1000, True, faults.fade),
    "resolution": Simulator(beliefs.truth, "grids of 8 pixels", 8, False, faults.resolution),
    "confusion": Simulator(beliefs.truth, *_HITS, faults.confusion),
}
UNMODELLED = tuple(SIMULATORS)[tuple(SIMULATORS).index("drop_touching") :]


@dataclass(frozen=True)
class _Painter:
    """Draws believed objects as soft masks."""

    scene: Scene
    believed: np.ndarray
    seed: int
    name: str
    strength: float

    def scores(self, t: int) -> np.ndarray:
        """``(K+1, H, W) float32`` probabilities of frame t."""
        class_ids = self.scene.class_ids
        heights = np.full((len(class_ids) + 1, *self.scene.size), -_FAR_PX, np.float32)
        confidence = np.ones(len(heights), np.float32)
        if self.name != "perfect":
            self._draw(t, heights, confidence)
        else:
            labels = self.scene.label_map(t)
            for channel, class_id in enumerate(class_ids, start=1):
                heights[channel] = signed_distance(labels == class_id)
        np.clip(heights, -_FAR_PX, _FAR_PX, out=heights)
        if fault := SIMULATORS[self.name].fault:
            rng = np.random.default_rng((self.seed, t, zlib.crc32(self.name.encode())))
            heights[1:] = fault(heights, faults.Moment(self.strength, rng, self._run(t)))[1:].clip(-_FAR_PX, _FAR_PX)
        heights[0] = -heights[1:].max(axis=0)
        return soft_labels(heights, confidence)

    def _draw(self, t: int, heights: np.ndarray, confidence: np.ndarray) -> None:
        """Put the believed objects of frame t into their channels."""
        instances = self.scene.instance_map(t)
        for object_id, believed in zip(self.scene.object_ids, self.believed[t], strict=True):
            mask = instances == object_id
            if believed and mask.any():
                channel = 1 + self.scene.class_ids.index(self.scene.label_of(object_id))
                np.maximum(heights[channel], self._height(mask, t, object_id), out=heights[channel])
                confidence[channel] = self._rng(object_id, t).uniform(*_CONFIDENCE)

    def _height(self, mask: np.ndarray, t: int, object_id: int) -> np.ndarray:
        """Signed distance to the object's contour as this model draws it: positive inside, in pixels."""
        radius = float(np.sqrt(mask.sum() / np.pi))
        reach = _COARSE_SHARE * self.strength * radius if self.name == "coarse" else 0.0
        if reach:
            mask = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), reach) > 0.5
            reach *= self._rng(object_id, None).choice((-1.0, 1.0))
        # Half of a model's contour errors stay from frame to frame, half are new.
        error = self._noise(object_id, None) + self._noise(object_id, t)
        error *= np.float32(max(0.5, _CONTOUR_SHARE * radius) / 2**0.5)
        return signed_distance(mask) + (error + np.float32(reach))

    def _run(self, t: int) -> int:
        """Frames to the nearer end of the run around frame t in which the same objects are shown."""
        same = (self.believed == self.believed[t]).all(axis=1)
        before, after = np.flatnonzero(~same[:t][::-1]), np.flatnonzero(~same[t:])
        return int(min(before[0] if len(before) else len(same), after[0] - 1 if len(after) else len(same)))

    def _noise(self, object_id: int, t: int | None) -> np.ndarray:
        """``(H, W) float32`` of about unit variance, smooth over about a fourteenth of the frame."""
        grid = self._rng(object_id, t).standard_normal((16, 16), dtype=np.float32)
        height, width = self.scene.size
        return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(1.25)

    def _rng(self, object_id: int, t: int | None) -> np.random.Generator:
        return np.random.default_rng((self.seed, object_id, 0 if t is None else t + 1))


def signed_distance(mask: np.ndarray) -> np.ndarray:
    """``(H, W) float32``: distance in pixels to the mask's contour, positive inside, at least 0.5 either way.

    Without a contour it is the frame's diagonal.
    """
    inside = mask.astype(np.uint8)
    if inside.min() == inside.max():
        return np.full(mask.shape, np.hypot(*mask.shape) * (1 if inside.max() else -1), np.float32)
    within = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.where(inside > 0, within - np.float32(0.5), np.float32(0.5) - outside)


def soft_labels(heights: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """``(C, H, W) float32`` probabilities: the highest channel gets more than half, exactly where it is the highest.

    Args:
        heights: ``(C, H, W) float32`` signed distances in pixels, one channel the highest at each pixel.
        confidence: ``(C,)`` how steeply a channel's probability rises from its edge.
    """
    if len(heights) == 2:
        object_score = 1 / (1 + np.exp(heights[1] * (-confidence[1] / _EDGE_PX)))
        return np.stack([1 - object_score, object_score])
    second, first = np.partition(heights, -2, axis=0)[-2:]
    winner = heights.argmax(axis=0)
    sure = 1 / (1 + np.exp(confidence[winner] * (second - first) / (2 * _EDGE_PX)))
    shares = np.exp(np.minimum(heights - second, 0) / _EDGE_PX)  # what is left goes to the others, the nearest first
    won = np.arange(len(heights))[:, None, None] == winner
    shares[won] = 0
    shares *= (1 - sure) / shares.sum(axis=0)
    return np.where(won, sure, shares)
