"""ONNX Runtime, told before it is loaded to send nothing home: from 1.31 on it keeps a file for that in the directory of temporary files.

Whoever needs it imports it from here. It must be loaded before usearch: after it, it kills the process (1.31, usearch 2.26).
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime

__all__ = ["onnxruntime"]
