#!/usr/bin/env bash
# torch 2.13.0: a pickle of tensors that are pieces of one flat tensor holds all of the flat tensor
# for each of them. Parameters that were put into one piece of memory, as optimisers and libraries
# for several GPUs do, therefore make a pickle as many times as large as there are parameters, and
# joblib sends it so to its workers. torch.save writes the memory once, and pickles of copies, one
# by one, are small. A deep copy of a whole dict of pieces shares memory again. Seen:
#   a dict of 10 pieces, 40,000 bytes in all: pickle over 400,000 bytes, torch.save below 50,000
#   deep copy of the dict: pickle over 400,000 bytes; clones: below 50,000

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6
venv/bin/python - <<'PYTHON'
import copy
import io
import pickle

import torch

flat = torch.zeros(10_000)
pieces = {str(number): piece for number, piece in enumerate(flat.split(1_000))}
file = io.BytesIO()
torch.save(pieces, file)
sizes = {
    "pickle": len(pickle.dumps(pieces)),
    "torch.save": len(file.getvalue()),
    "pickle of a deep copy": len(pickle.dumps(copy.deepcopy(pieces))),
    "pickle of clones": len(pickle.dumps({name: p.clone() for name, p in pieces.items()})),
}
print(f"{flat.nbytes} bytes in {len(pieces)} pieces: {sizes}")
assert sizes["pickle"] > 10 * flat.nbytes
assert sizes["pickle of a deep copy"] > 10 * flat.nbytes
assert sizes["torch.save"] < 50_000
assert sizes["pickle of clones"] < 50_000
PYTHON
