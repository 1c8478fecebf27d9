"""Black and white masks saved as a video: decided at half grey, refused where they are no masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import PredictionError
from ..media.backend import probe
from ..media.sniff import sniff
from ..media.video import VideoFile
from ..structures import FrameStack, Prediction

GREY = (64, 191)  # between these a pixel is neither; codecs blur the edges
MOST_GREY = 0.05  # share of a frame's pixels


def read_mask_video(path: Path) -> Prediction:
    """Binary masks, frame i the i-th shown frame.

    Raises:
        PredictionError: when a frame is read: it is grey or coloured, so no black and white mask.
        MediaError: the video cannot be read.
    """
    video = VideoFile(probe(path.absolute(), sniff(path)))

    def read(t: int) -> np.ndarray:
        picture = video.frame(t)
        grey = picture.mean(axis=2)
        neither = float(((grey > GREY[0]) & (grey < GREY[1])).mean())
        coloured = float((np.ptp(picture.astype(np.int16), axis=2) > GREY[0]).mean())
        if max(neither, coloured) > MOST_GREY:
            raise PredictionError(
                f"{path}, frame {t}: {max(neither, coloured):.0%} of the pixels are grey or coloured; a video of masks is "
                "black and white (lossy codecs change ids: save label maps as PNG)."
            )
        return (grey > 127).astype(np.uint8)

    count, size = len(video.stream.timeline), video.stream.size
    labels = FrameStack(read, num_frames=count, frame_shape=size, dtype=np.uint8)
    return Prediction.from_labels(labels, source=str(path))
