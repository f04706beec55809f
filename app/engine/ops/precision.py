"""Whether a constant's weights are kept as float16 on the device."""

from __future__ import annotations

import numpy as np

from app.engine.ir import Tensor
from app.engine.profile import DeviceProfile

LARGEST = float(np.finfo(np.float16).max)


def halved(w: Tensor, profile: DeviceProfile) -> bool:
    """True with precision fp16-storage, unless a weight is too large for it."""
    if not profile.fp16_storage or w.data is None or not w.data.size:
        return False
    return bool(np.abs(w.data).max() <= LARGEST)
