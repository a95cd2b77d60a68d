#!/usr/bin/env bash
# skl2onnx 1.20.0 names ONNX's own operators twice among the versions that a model is written for.
# onnx 1.23.2 converts one of the two to another version and leaves the other, so that the model
# then claims both; onnx.checker finds nothing wrong, and merge_models refuses the model. Seen:
#   [('ai.onnx.ml', 1), ('', 22), ('', 22)]
#   [('ai.onnx.ml', 1), ('', 20), ('', 22)]

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet skl2onnx==1.20.0 onnx==1.23.2 scikit-learn==1.9.1 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import numpy as np
import onnx
from sklearn.preprocessing import StandardScaler
from skl2onnx import to_onnx


def versions(model):
    return [(entry.domain, entry.version) for entry in model.opset_import]


X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
scaler = StandardScaler().fit(X)
written = to_onnx(scaler, X[:1])
converted = onnx.version_converter.convert_version(written, 20)
print(versions(written))
print(versions(converted))
assert versions(written).count(("", 22)) == 2
assert {("", 20), ("", 22)} <= set(versions(converted))
onnx.checker.check_model(converted)
other = to_onnx(scaler, X[:1], target_opset=20)
other.ir_version = converted.ir_version
try:
    onnx.compose.merge_models(converted, other, io_map=[("variable", "X")], prefix1="first_")
except ValueError as error:
    print(str(error).splitlines()[0])
    assert "different operator set ids" in str(error)
else:
    raise AssertionError("the models were merged")
PYTHON
