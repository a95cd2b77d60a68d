"""Combinations of missing cells: counted at fit, and drawn as often."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sk_hvae import HierarchicalVAETransformer
from sk_hvae._input.missing_patterns import MissingPatterns


def test_patterns_are_drawn_as_often_as_they_were():
    missing = np.zeros((300, 10), bool)
    missing[:90, [1, 9]] = True
    missing[90:120, 4] = True
    patterns = MissingPatterns.among(missing)
    assert dict(zip(patterns.columns, patterns.counts, strict=True)) == {
        (): 180,
        (1, 9): 90,
        (4,): 30,
    }
    drawn = patterns.draw((20_000, 10), seed=0)
    found = [
        (~drawn.any(1)).sum(),
        (drawn[:, [1, 9]].all(1) & (drawn.sum(1) == 2)).sum(),
        (drawn[:, 4] & (drawn.sum(1) == 1)).sum(),
    ]
    assert sum(found) == 20_000
    assert stats.chisquare(found, [12_000, 6_000, 2_000]).pvalue > 0.01


def test_complete_rows_have_no_patterns():
    patterns = MissingPatterns.among(np.zeros((5, 3), bool))
    assert patterns == MissingPatterns()
    assert not patterns.draw((4, 3), seed=0).any()


@pytest.mark.parametrize(
    "plain", [(((0,),), (0,)), (((3,),), (1,)), (((0,),), ()), (((0.5,),), (1,))]
)
def test_what_is_no_patterns_is_refused(plain):
    with pytest.raises(ValueError, match="patterns"):
        MissingPatterns.from_plain(plain, 3)


def test_samples_have_missing_cells_where_the_frame_had_some(small):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "income": rng.lognormal(8, 1, 200).round(2),
            "n": rng.integers(0, 9, 200).astype(float),
            "town": rng.choice(["Oslo", "Rome"], 200),
        }
    )
    frame.loc[:99, ["income", "town"]] = None
    model = small().fit(frame)
    drawn = model.sample(2000, random_state=0)
    assert not drawn["n"].isna().any()
    assert (drawn["income"].isna() == drawn["town"].isna()).all()
    assert stats.binomtest(int(drawn["town"].isna().sum()), 2000, 0.5).pvalue > 0.01
    assert not model.sample(50, missing=False).isna().any().any()
    assert not model.sample(50, mean=True).isna().any().any()
    assert (model.sample(50, given={"town": "Rome"})["town"] == "Rome").all()
    assert isinstance(model, HierarchicalVAETransformer)
