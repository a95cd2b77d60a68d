"""
A table, start to end
=====================

A table of penguins as the people who measured them published it: three species on three islands,
text beside numbers, and a few holes. We pass it as it is. What each column was taken for can be
read, missing cells are filled in, rows that are unlike the others are found, and new rows come out
with the names, types and values of the table. :doc:`/user_guide/tables` has more about each step.
"""

import matplotlib.pyplot as plt
from palmerpenguins import load_penguins

from sk_hvae import HierarchicalVAETransformer

# %%
# The table
# ---------
# 344 rows and 8 columns. Eleven penguins have no sex, and two have no measurements at all.
penguins = load_penguins()
print(penguins.head(4).to_string())
print(
    "missing cells:", penguins.isna().sum().sum(), "in", penguins.isna().any(axis=1).sum(), "rows"
)

# %%
# One call
# --------
# Nothing has to be encoded, scaled or filled in before. The estimator shows its columns as a table:
# click on it to see what they were taken for. Text became categories, and numbers keep the
# distribution and the steps that they have in the table: millimetres to one decimal, and grams in
# steps of 25. Rates are bits as always: 2 in z_1 and 8 in z_2.
hvae = HierarchicalVAETransformer(random_state=0).fit(penguins)
hvae

# %%
# The same as a frame:
print(hvae.columns_.drop(columns=["dtype"]).to_string())

# %%
# The year is a number, which is sensible for a table of many years. Here are only three, and what
# happens between them has no meaning. One word changes this column and no other:
hvae = HierarchicalVAETransformer(likelihood={"year": "categorical"}, random_state=0)
hvae.fit(penguins)
print(hvae.columns_.loc[7, ["column", "likelihood", "values"]].to_string())

# %%
# Holes
# -----
# ``impute`` fills in what is missing, and changes nothing else. Categories become the most probable
# one, and numbers the value that is expected, which need not be one that a balance can show.
filled = hvae.impute(penguins)
without = penguins["body_mass_g"].isna()
print(penguins[without].to_string(index=False))
print(filled[without].round(1).to_string(index=False))

# %%
# Odd rows
# --------
# ``typicality`` asks how far out the noise would have to be by which the model draws a row. Rows
# with holes have fewer cells that could be odd, so we compare complete rows. These are the five
# least typical:
complete = penguins.dropna()
score = hvae.typicality(complete)
odd = complete.iloc[score.argsort()[:5]]
print(odd.to_string())

# %%
# New rows
# --------
# ``sample`` draws rows that look like those of the table: with its names and dtypes, and only with
# values that its columns can have.
drawn = hvae.sample(len(penguins), random_state=1)
print(drawn.head(4).to_string())
print("same dtypes:", (drawn.dtypes == penguins.dtypes).all())

# %%
# On the left, the table, the two penguins whose measurements were filled in, and the five least
# typical ones. On the right, as many new rows. They follow the table, but their species overlap
# more than they really do: 344 rows are few to learn from.
species = dict(zip(("Adelie", "Chinstrap", "Gentoo"), ("C1", "C3", "C0"), strict=True))
pair = ["flipper_length_mm", "body_mass_g"]
figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharex=True, sharey=True, layout="constrained")
for ax, table in zip(axes, (penguins, drawn), strict=True):
    for name, color in species.items():
        ax.scatter(*table.loc[table["species"] == name, pair].to_numpy().T, 16, color, alpha=0.6)
    ax.set_xlabel("flipper length (mm)")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].scatter(*odd[pair].to_numpy().T, 110, "none", edgecolors="k", label="unusual")
for name, color in species.items():
    is_filled = without & (penguins["species"] == name)
    axes[0].scatter(
        *filled.loc[is_filled, pair].to_numpy().T, 220, color, marker="*", edgecolors="k"
    )
axes[0].scatter([], [], 160, "w", marker="*", edgecolors="k", label="filled in")
axes[0].legend(loc="upper left", frameon=False)
for name, color in species.items():
    axes[1].scatter([], [], 30, color, label=name)
axes[1].legend(loc="upper left", frameon=False)
axes[0].set(ylabel="body mass (g)", title=f"{len(penguins)} penguins")
axes[1].set_title(f"{len(drawn)} rows that the model drew")
plt.show()
