"""The 255 thresholds of the published F-score, as data, and which of them a probability reaches.

Published code asks ``torch.linspace(0, 1 - 1e-10, 255)``, whose float32 values depend on the processor (20 of them
differ by one unit in the last place between fused and unfused arithmetic). These are the fused (AVX2, AVX-512)
values: ``i * step`` up to the middle and ``1 - (254 - i) * step`` after it, with the float32 ``step = 1/254``, each
rounded once. The first is 0, the 128th exactly 0.5 and the last exactly 1.
"""

from __future__ import annotations

import base64

import numpy as np

_FLOAT32_LITTLE_ENDIAN = (
    "AAAAAAQCgTsEAgE8BoNBPAQCgTyFQqE8BoPBPIfD4TwEAgE9RCIRPYVCIT3GYjE9BoNBPUajUT2Hw2E9yONxPQQCgT0kEok9RCKRPWUymT2FQqE9"
    "pVKpPcZisT3mcrk9BoPBPSaTyT1Go9E9Z7PZPYfD4T2n0+k9yOPxPejz+T0EAgE+FAoFPiQSCT40Gg0+RCIRPlUqFT5lMhk+dTodPoVCIT6VSiU+"
    "pVIpPrVaLT7GYjE+1mo1PuZyOT72ej0+BoNBPhaLRT4mk0k+NptNPkajUT5Xq1U+Z7NZPne7XT6Hw2E+l8tlPqfTaT63220+yONxPtjrdT7o83k+"
    "+Pt9PgQCgT4MBoM+FAqFPhwOhz4kEok+LBaLPjQajT48Ho8+RCKRPk0mkz5VKpU+XS6XPmUymT5tNps+dTqdPn0+nz6FQqE+jUajPpVKpT6dTqc+"
    "pVKpPq1Wqz61Wq0+vV6vPsZisT7OZrM+1mq1Pt5utz7mcrk+7na7PvZ6vT7+fr8+BoPBPg6Hwz4Wi8U+Ho/HPiaTyT4ul8s+NpvNPj6fzz5Go9E+"
    "T6fTPler1T5fr9c+Z7PZPm+32z53u90+f7/fPofD4T6Px+M+l8vlPp/P5z6n0+k+r9frPrfb7T6/3+8+yOPxPtDn8z7Y6/U+4O/3Pujz+T7w9/s+"
    "+Pv9PgAAAD8EAgE/CAQCPwwGAz8QCAQ/FAoFPxgMBj8cDgc/IBAIPyQSCT8oFAo/LBYLPzAYDD80Gg0/OBwOPzweDz9BIBA/RSIRP0kkEj9NJhM/"
    "USgUP1UqFT9ZLBY/XS4XP2EwGD9lMhk/aTQaP202Gz9xOBw/dTodP3k8Hj99Ph8/gUAgP4VCIT+JRCI/jUYjP5FIJD+VSiU/mUwmP51OJz+hUCg/"
    "pVIpP6lUKj+tVis/sVgsP7VaLT+5XC4/vl4vP8JgMD/GYjE/ymQyP85mMz/SaDQ/1mo1P9psNj/ebjc/4nA4P+ZyOT/qdDo/7nY7P/J4PD/2ej0/"
    "+nw+P/5+Pz8CgUA/BoNBPwqFQj8Oh0M/EolEPxaLRT8ajUY/Ho9HPyKRSD8mk0k/KpVKPy6XSz8ymUw/NptNPzqdTj8+n08/Q6FQP0ejUT9LpVI/"
    "T6dTP1OpVD9Xq1U/W61WP1+vVz9jsVg/Z7NZP2u1Wj9vt1s/c7lcP3e7XT97vV4/f79fP4PBYD+Hw2E/i8ViP4/HYz+TyWQ/l8tlP5vNZj+fz2c/"
    "o9FoP6fTaT+r1Wo/r9drP7PZbD+3220/u91uP8Dfbz/E4XA/yONxP8zlcj/Q53M/1Ol0P9jrdT/c7XY/4O93P+TxeD/o83k/7PV6P/D3ez/0+Xw/"
    "+Pt9P/z9fj8AAIA/"
)
THRESHOLDS: np.ndarray = np.frombuffer(base64.b64decode(_FLOAT32_LITTLE_ENDIAN), "<f4").astype(np.float32)
THRESHOLDS.setflags(write=False)

_STEPS = len(THRESHOLDS) - 1  # threshold i lies at i / 254, up to rounding
_CODES_PER_STEP = 256


def highest_threshold(probability: np.ndarray) -> np.ndarray:
    """``int16``: index of the highest of the 255 thresholds that each probability in [0, 1] reaches.

    ``p * 254`` says which, except next to a threshold: it is computed in 256 codes a step, and as neither its
    rounding nor the threshold's is off by a hundredth of a code, only the two codes beside a threshold can be
    wrong. Those pixels are compared with the threshold itself. The codes at the ends, where predictions saturate,
    are right: nothing lies below the first threshold, and only 1 reaches the last.
    """
    codes = np.multiply(probability, np.float32(_STEPS * _CODES_PER_STEP), order="C").astype(np.uint16)
    reached = (codes >> 8).astype(np.int16)
    beside = (codes.astype(np.uint8) + np.uint8(1)) < 2  # the low byte is 255 or 0
    beside &= (codes - np.uint16(1)) < _STEPS * _CODES_PER_STEP - 2  # not the first code nor the last two
    where = np.flatnonzero(beside)
    nearest = (codes.ravel()[where] + 1) >> 8
    reached.ravel()[where] = nearest - (probability.ravel()[where] < THRESHOLDS[nearest])
    return reached
