"""
Counts from rows of different size
==================================

You have counts of words in documents, and the documents are of different lengths. You want a map
that shows what they are about, not how long they are. The same goes for genes in cells that were
sequenced more or less deeply, or for species at sites that were visited more or less often.

Our documents are on this computer already: the docstrings of four libraries. We count the 300 words
that are most frequent in them.
"""

import inspect

import matplotlib.axes
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.utils import all_estimators

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.nn import NegativeBinomial


def docstrings(objects):
    texts = {inspect.getdoc(thing) or "" for thing in objects}
    return sorted(text for text in texts if len(text) > 300)


def public(holder):
    return [getattr(holder, name) for name in dir(holder) if not name.startswith("_")]


library_texts = {
    "numpy": docstrings(thing for thing in public(np) if callable(thing)),
    "pandas": docstrings(public(pd) + public(pd.DataFrame)),
    "matplotlib": docstrings(public(plt) + public(matplotlib.axes.Axes)),
    "scikit-learn": docstrings(estimator for _, estimator in all_estimators()),
}
texts = [text for found in library_texts.values() for text in found]
library = np.repeat(list(library_texts), [len(found) for found in library_texts.values()])
words = CountVectorizer(stop_words="english", max_features=300)
X = words.fit_transform(texts)
length = np.asarray(X.sum(axis=1)).ravel()
print(f"{len(texts)} documents, from {length.min()} to {length.max()} counted words")

# %%
# Two maps
# --------
# Each map has 6 bits for a document, in two numbers. For the right one, the expected counts are in
# proportion to the length of the document, so that the latents need not say how long it is.
maps = {}
for title, exposure in {"counts as they are": None, 'exposure="total"': "total"}.items():
    likelihood = NegativeBinomial(exposure=exposure)
    hvae = HierarchicalVAETransformer(6, n_components=2, likelihood=likelihood, random_state=0)
    maps[title] = hvae.fit_transform(X)

# %%
# In the upper row, colours show the length. On the left it is the main thing that the map has to
# say. The lower row has the libraries, which the model does not know.
figure, axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained", sharex="col", sharey="col")
for (title, latents), (above, below) in zip(maps.items(), axes.T, strict=True):
    shown = above.scatter(*latents.T, c=np.log10(length.clip(1)), s=8)
    above.set_title(title)
    for name in library_texts:
        below.scatter(*latents[library == name].T, s=8, label=name)
figure.colorbar(shown, ax=axes[0], label="log10 of the counted words")
axes[1, 1].legend(loc="lower left")
figure.suptitle("Two maps of documents, by length and by library")

# %%
# How well do two numbers tell the library, and how well do they tell the length?
for title, latents in maps.items():
    accuracy = cross_val_score(LogisticRegression(), latents, library).mean()
    depth = np.abs(np.corrcoef(latents.T, np.log(length.clip(1)))[-1, :-1]).max()
    print(f"{title}: accuracy {accuracy:.2f}, largest correlation with the length {depth:.2f}")

# %%
# The words of a library
# ----------------------
# ``inverse_transform`` decodes latents to counts at the mean length. These are denoised, and can be
# compared between documents of any length.
rates = hvae.inverse_transform(maps['exposure="total"'])
names = words.get_feature_names_out()
for name in library_texts:
    often = rates[library == name].mean(axis=0) / rates.mean(axis=0)
    print(f"{name}: {', '.join(names[often.argsort()[::-1][:6]])}")
plt.show()
