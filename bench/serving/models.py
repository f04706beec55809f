"""The two models of the comparison: one so small that overhead decides, and a real one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from app.repository.pull import pull
from tests.engine.builder import Spec, single_op

