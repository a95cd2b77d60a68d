"""The methods that tables.py compares: ours, which get frames as they are, and their peers.

Four dictionaries of functions, one for each job. Peers get the preparation of table_sets.py and are
otherwise at their defaults. The comments say where they are not, and why.
"""

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import Pipeline
from table_sets import Codes, Prepared, is_number

from sk_hvae import HierarchicalVAETransformer, RateSearchCV

RATES = [(2, 8), (8, 32), (32, 32), (64, 32)]
N_COLUMNS = 32  # of z_1, and of its peers


def boosting(seed=0):
    return HistGradientBoostingClassifier(random_state=seed)


def logistic():
    return LogisticRegression(max_iter=5000)


def plain_vae(seed):
    """One layer, beta 1, of the widths of our defaults."""
    return HierarchicalVAETransformer(betas=1.0, likelihood="gaussian", random_state=seed)


# --- synthetic rows: (training rows, seed) -> function of the number of rows to draw --------------


def sample_hvae(train, seed):
    hvae = HierarchicalVAETransformer(random_state=seed).fit(train)
    return lambda n: hvae.sample(n, random_state=seed + n)


def sample_copula(train, seed):
    """SDV's Gaussian copula, which keeps ranges, decimals, categories and shares of holes."""
    from sdv.single_table import GaussianCopulaSynthesizer

    return _sdv(GaussianCopulaSynthesizer, train, seed)


def sample_tvae(train, seed):
    from sdv.single_table import TVAESynthesizer

    return _sdv(TVAESynthesizer, train, seed)


def _sdv(cls, train, seed):
    """Fit a model of SDV; kinds of columns are given, because it would replace some of them."""
    import torch
    from sdv.metadata import Metadata

    def kind(column):
        if not is_number(column):
            return {"sdtype": "categorical"}
        is_date = pd.api.types.is_datetime64_any_dtype(column)
        return (
            {"sdtype": "datetime", "datetime_format": "%Y-%m-%d"}
            if is_date
            else {"sdtype": "numerical"}
        )

    columns = {name: kind(column) for name, column in train.items()}
    metadata = Metadata.load_from_dict({"tables": {"table": {"columns": columns}}})
    np.random.seed(seed)  # noqa: NPY002 the generators that SDV uses
    torch.manual_seed(seed)
    synthesizer = cls(metadata)
    synthesizer.fit({"table": train})
    return lambda n: synthesizer.sample(n)["table"]


def sample_plain_vae(train, seed):
    prepared = Prepared(train)
    vae = plain_vae(seed).fit(prepared(train))
    return lambda n: prepared.frame(vae.sample(n, random_state=seed + n))


def sample_columns(train, seed):
    """Every column drawn on its own from the training rows: the floor."""

    def sample(n):
        rng = np.random.default_rng(seed + n)
        return pd.DataFrame(
            {
                name: column.iloc[rng.integers(len(train), size=n)].reset_index(drop=True)
                for name, column in train.items()
            }
        )

    return sample


def sample_rows(train, seed):
    """Return the training rows: the ceiling. There are copies if more rows are wanted."""
    return lambda n: train.sample(n, replace=n > len(train), random_state=seed, ignore_index=True)


SAMPLERS = {
    "hvae": sample_hvae,
    "GaussianCopula": sample_copula,
    "TVAE": sample_tvae,
    "plain VAE": sample_plain_vae,
    "columns alone": sample_columns,
    "real rows": sample_rows,
}


# --- imputing: (rows with holes, seed) -> rows without --------------------------------------------


def impute_hvae(holed, seed):
    return HierarchicalVAETransformer(random_state=seed).fit(holed).impute(holed)


def impute_mean(holed, seed):
    """Means of numbers, and the most frequent categories."""
    filled = {
        name: column.fillna(column.mean() if is_number(column) else column.mode()[0])
        for name, column in holed.items()
    }
    return pd.DataFrame(filled)


def impute_neighbours(holed, seed):
    return _impute(KNNImputer(keep_empty_features=True), Prepared(holed, "keep"), holed)


def impute_iterative(holed, seed):
    imputer = IterativeImputer(random_state=seed, keep_empty_features=True)
    return _impute(imputer, Prepared(holed, "keep", baseline=True), holed)


def _impute(imputer, prepared, holed):
    """Impute standardised numbers and one-hot categories, of which the largest is taken."""
    return prepared.frame(imputer.fit_transform(prepared(holed)))


IMPUTERS = {
    "hvae": impute_hvae,
    "mean": impute_mean,
    "KNNImputer": impute_neighbours,
    "IterativeImputer": impute_iterative,
}


# --- odd rows: (training rows, rows, seed) -> how usual the rows are ------------------------------


def score_hvae(train, rows, seed):
    return HierarchicalVAETransformer(random_state=seed).fit(train).typicality(rows)


def score_bound(train, rows, seed):
    return HierarchicalVAETransformer(random_state=seed).fit(train).score_samples(rows)


def score_forest(train, rows, seed):
    prepared = Prepared(train)
    return IsolationForest(random_state=seed).fit(prepared(train)).score_samples(prepared(rows))


def score_neighbours(train, rows, seed):
    prepared = Prepared(train)
    return LocalOutlierFactor(novelty=True).fit(prepared(train)).score_samples(prepared(rows))


def score_mahalanobis(train, rows, seed):
    """By a covariance that is shrunk a little, since one-hot columns are linearly dependent."""
    prepared = Prepared(train)
    return -LedoitWolf().fit(prepared(train)).mahalanobis(prepared(rows))


SCORERS = {
    "hvae": score_hvae,
    "hvae bound": score_bound,
    "IsolationForest": score_forest,
    "LocalOutlierFactor": score_neighbours,
    "Mahalanobis": score_mahalanobis,
}


# --- classifiers: (training rows, their classes, rows, seed) -> probabilities ---------------------


def classify_searched(train, y, rows, seed):
    """Latents of z_1 at the rates that RateSearchCV chooses within the training rows."""
    hvae = HierarchicalVAETransformer(
        n_components=(N_COLUMNS, N_COLUMNS // 2), output_layers=1, random_state=seed
    )
    pipeline = Pipeline([("hvae", hvae), ("clf", logistic())])
    search = RateSearchCV(
        pipeline, {"hvae__layer_rates": RATES}, cv=3, scoring="neg_log_loss", error_score="raise"
    )
    return search.fit(train, y).predict_proba(rows)


def classify_latents(train, y, rows, seed):
    """Latents at the default rates."""
    hvae = HierarchicalVAETransformer(random_state=seed)
    return Pipeline([("hvae", hvae), ("clf", logistic())]).fit(train, y).predict_proba(rows)


def classify_pca(train, y, rows, seed):
    X_train, X = _prepared(train, rows)
    pca = PCA(min(N_COLUMNS, *X_train.shape), random_state=seed).fit(X_train)
    return _classify(pca.transform(X_train), y, pca.transform(X))


def classify_umap(train, y, rows, seed):
    from umap import UMAP

    X_train, X = _prepared(train, rows)
    n_columns = min(N_COLUMNS, X_train.shape[1], len(X_train) - 2)
    umap = UMAP(n_components=n_columns, random_state=seed, n_jobs=1).fit(X_train)
    return _classify(umap.embedding_, y, umap.transform(X))


def classify_famd(train, y, rows, seed):
    """FAMD of all rows at once, since prince places a row by the other rows of the call.

    Holes are filled as in `Prepared`, and rare categories are put together. Tables of only numbers
    or only categories are none for FAMD.
    """
    from prince import FAMD

    both = pd.concat([train, rows], ignore_index=True)
    columns = {}
    for name, column in both.items():
        if is_number(column):
            values = pd.to_numeric(column).astype(float)
            columns[name] = values.fillna(values.mean())
        else:
            text = column.astype("string").fillna("(hole)")
            frequent = text.value_counts().index[:100]
            columns[name] = text.where(text.isin(frequent), "(rest)").astype(object)
    frame = pd.DataFrame(columns)
    frame = frame.loc[:, frame.nunique() > 1]
    scores = FAMD(n_components=N_COLUMNS, random_state=seed).fit(frame).row_coordinates(frame)
    scores = scores.to_numpy(float)
    return _classify(scores[: len(train)], y, scores[len(train) :])


def classify_raw(train, y, rows, seed):
    X_train, X = _prepared(train, rows)
    return _classify(X_train, y, X)


def classify_boosting(train, y, rows, seed):
    """Boosting on the columns: not a rival of the latents, but what one would use to predict."""
    codes = Codes(train, rows)
    return boosting(seed).fit(codes(train), y).predict_proba(codes(rows))


def _prepared(train, rows):
    prepared = Prepared(train)
    return prepared(train), prepared(rows)


def _classify(X_train, y, X):
    return logistic().fit(X_train, y).predict_proba(X)


CLASSIFIERS = {
    "hvae": classify_searched,
    "hvae default": classify_latents,
    "PCA": classify_pca,
    "FAMD": classify_famd,
    "UMAP": classify_umap,
    "raw columns": classify_raw,
    "boosting": classify_boosting,
}
