"""
Latents in a pipeline, chosen by grid search
============================================

How many bits does a classifier need, and from which layer? In a pipeline, a hierarchical VAE is
a transformer like any other, and its rates are parameters like any others. We put it between a
ColumnTransformer and logistic regression, let GridSearchCV choose the rates and the layers, and
compare the result with PCA and with the original columns.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sk_hvae import HierarchicalVAETransformer, rate_grid

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=380, stratify=y, random_state=0
)

# %%
# The pipeline
# ------------
# The areas of cell nuclei have a skewed distribution, so we take their logarithms. The VAE
# standardises its columns itself, and the classifier takes the latents as they are. Each layer has
# four units and the network is small, so that the page runs quickly.
areas = [name for name in X if "area" in name]
logarithm = FunctionTransformer(np.log, feature_names_out="one-to-one")
columns = ColumnTransformer(
    [("log", logarithm, areas)], remainder="passthrough", verbose_feature_names_out=False
)
hvae = HierarchicalVAETransformer(n_components=4, hidden_layer_sizes=64, random_state=0)
pipeline = Pipeline([("columns", columns), ("hvae", hvae), ("clf", LogisticRegression())])
pipeline.set_output(transform="pandas")

# %%
# The search
# ----------
# z_1 carries 1 bit, and z_2 carries 1, 2, 4 or 8 bits. The classifier reads both layers, or only
# the top layer z_2. GridSearchCV trains a model for each of the eight candidates in every split.
# `RateSearchCV` takes the same arguments, and trains one model per split for all of them.
bits = [1, 2, 4, 8]
grid = {"hvae__layer_rates": rate_grid(1, bits), "hvae__output_layers": ["all", "top"]}
search = GridSearchCV(pipeline, grid, cv=3).fit(X_train, y_train)
print(f"best: {search.best_params_}, accuracy {search.best_score_:.3f}")

# %%
# The latents of the best pipeline, as a frame of pandas:
best = search.best_estimator_
print(best[:-1].transform(X_test).head(3).round(2).to_string())

# %%
# A diagnosis is a single bit, but the first bits of a layer also describe other things about a row:
# z_2 alone gives better accuracy with four bits than with one or two. More than four bits hardly
# help, and the one bit of z_1 does not. The error bars are as large as most differences, so that
# three splits are too few to distinguish between good candidates.
results = search.cv_results_
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for shift, layers, label in [(-0.03, "all", "z_1 (1 bit) and z_2"), (0.03, "top", "z_2")]:
    chosen = results["param_hvae__output_layers"] == layers
    mean, std = results["mean_test_score"][chosen], results["std_test_score"][chosen]
    ax.errorbar(np.arange(4) + shift, mean, std, marker="o", capsize=3, label=label)
ax.set_xticks(range(4), bits)
ax.set(xlabel="bits of z_2", ylabel="accuracy, mean and std over splits")
ax.legend(title="the classifier reads", loc="lower right")
ax.set_title("How many bits are enough?")

# %%
# Held-out rows
# -------------
# With the best latents the classifier makes more errors than with the same number of principal
# components, or with all 30 columns. There are so few errors that the differences may be chance.
# The latents are computed without the labels, and 8 bits may leave out some of what a linear
# classifier could use. Here they are a little worse than the table.
n_columns = len(best["hvae"].get_feature_names_out())
scaled = make_pipeline(columns, StandardScaler())
models = {
    f"latents, {n_columns} columns": best,
    f"PCA, {n_columns} columns": make_pipeline(scaled, PCA(n_columns), LogisticRegression()),
    f"raw, {X.shape[1]} columns": make_pipeline(scaled, LogisticRegression()),
}
for name, model in models.items():
    wrong = (model.fit(X_train, y_train).predict(X_test) != y_test).sum()
    print(f"{name:19}  {wrong:2} of {len(y_test)} wrong, accuracy {1 - wrong / len(y_test):.3f}")
plt.show()
