"""From a plan to a measured model.

A `plan.Plan` says what to do with which rows, and a `recipe.Recipe` what kinds of fits differ in:
`single_rate`, `plane` and `clusters` have one each, and the value that it comes to. `fit` runs one
from top to bottom. `start` builds the model and starts it, `loop` trains it, `optimise` has the
learning rate and `control` the betas, and `measurement` says what came out.
"""
