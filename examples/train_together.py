"""
Train one model in several processes
====================================

Each process works on a part of every batch, and all end with the same fitted estimator. For this, a
script only has to make an ``Accelerator``. With two GPUs, launch it by ::

    accelerate launch --num_processes 2 examples/train_together.py

On a CPU, accelerate's own launcher needs MPI to start several processes. Without MPI, launch it by
::

    torchrun --nproc_per_node 2 examples/train_together.py --cpu
"""

# sphinx_gallery_thumbnail_path = "images/train_together.svg"  # noqa: ERA001
import argparse
import json

from accelerate import Accelerator
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sk_hvae import HierarchicalVAETransformer


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true", help="train on the CPU")
    parser.add_argument("--search", action="store_true", help="search for the width, too")
    options = parser.parse_args()
    accelerator = Accelerator(cpu=options.cpu)

    X = load_digits().data
    hvae = HierarchicalVAETransformer((2, 8), random_state=0).fit(X)
    result = {
        "processes": accelerator.num_processes,
        "rates": hvae.rates_.tolist(),
        "distortion": hvae.distortion_,
        "device": hvae.device_,
    }
    if options.search:
        widths = {"hidden_layer_sizes": [(32,), (128,)]}
        search = GridSearchCV(hvae.set_params(max_epochs=20), widths, cv=2).fit(X)
        result["scores"] = search.cv_results_["mean_test_score"].tolist()
    if accelerator.is_main_process:
        print(json.dumps(result))
    accelerator.end_training()


if __name__ == "__main__":
    main()
