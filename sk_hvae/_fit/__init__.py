"""From a plan to a measured model.

A `plan.Plan` says what to do with which rows. `start` builds the model and starts it, `control`
holds its rates, `loop` trains it, and `measurement` says what came out.
"""
