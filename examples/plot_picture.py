"""
A picture of your data
======================

Which rows are alike, are there groups, and where does a new row belong? A map answers at a glance:
each row is a point, and rows with similar latents are near each other. `MapDisplay` makes it from a
fitted model in one call. Labels are used only for the colours, and to see how good the map is.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes, load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sk_hvae import HierarchicalVAETransformer
from sk_hvae.plotting import MapDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Three maps of digits
# --------------------
# A model with two units is a map itself. A model with more units tells more rows apart, and its map
# shows which of them are neighbours in its latents. We compare both with two principal components:
# how often do the five nearest neighbours on the map know which digit a row is?
two_units = HierarchicalVAETransformer(8, n_components=2, random_state=0).fit(X_train)
hvae = HierarchicalVAETransformer(16, random_state=0).fit(X_train)
pca = PCA(2).fit(X_train)
principal = pca.transform(X_train)
maps = {
    "PCA": MapDisplay(embedding=principal, latents=principal, estimator=pca, labels=y_train),
    "two units": MapDisplay.from_estimator(two_units, X_train, y_train),
    "map of 16 units": MapDisplay.from_estimator(hvae, X_train, y_train),
}

figure, panels = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
for ax, (name, display) in zip(panels, maps.items(), strict=True):
    display.plot(ax)
    accuracy = cross_val_score(KNeighborsClassifier(5), display.embedding, y_train, cv=5).mean()
    ax.set_title(f"{name}: neighbours know {accuracy:.0%}")
for ax in panels[:2]:
    ax.get_legend().remove()

# %%
# New rows
# --------
# ``place`` puts new rows on the map, which stays as it is. Here they are black. Of these, too, the
# neighbours on the map know the digit.
display = maps["map of 16 units"].plot()
new = display.place(X_test)
display.ax_.scatter(*new.T, s=8, color="black")
display.ax_.set_title("New digits (black) on the map")
known = KNeighborsClassifier(5).fit(display.embedding, y_train).score(new, y_test)
print(f"digits of new rows that their neighbours on the map know: {known:.1%}")

# %%
# A table
# -------
# Tables of several kinds of columns work in the same way. These are patients with diabetes. Colour
# may be a column, here the sex, or anything else that is known of the rows, here how far the
# disease progressed within a year, which the model was not told.
table, progression = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
table["sex"] = table["sex"].astype(int).astype(str)  # text is taken for categories
patients = HierarchicalVAETransformer(random_state=0).fit(table)
figure, panels = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
figure.suptitle("Patients by sex, and by how far the disease progressed")
MapDisplay.from_estimator(patients, table, "sex").plot(panels[0])
MapDisplay.from_estimator(patients, table, progression.rename("progression")).plot(panels[1])
plt.show()
