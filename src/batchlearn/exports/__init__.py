"""Models for where batchlearn is not: as an ONNX graph, as plain SQL, as a folder of MLflow's.

Values come as `predict` reads them: numbers as 64-bit floats, categories as text without outer spaces, times as
microseconds, of moments in UTC.
"""

from batchlearn.exports.onnx_graph import to_onnx
from batchlearn.exports.sql import to_sql

__all__ = ["to_onnx", "to_sql"]
