#!/usr/bin/env bash
# optuna 5.0.0: a study in SQLite does not go on with the choices that it was started with, if these
# are tuples. In memory it does. best_params has lists where the function was given tuples. Seen:
#   best_params {'sizes': [2, 1]}
#   ValueError: CategoricalDistribution does not support dynamic value space.

set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet optuna==5.0.0
venv/bin/python -W ignore - <<'PYTHON'
import optuna

optuna.logging.set_verbosity(optuna.logging.CRITICAL)
suggested = []


def objective(trial):
    suggested.append(trial.suggest_categorical("sizes", [(1, 2), (2, 1)]))
    return float(suggested[-1][0])


def run(storage):
    study = optuna.create_study(
        storage=storage, study_name="study", load_if_exists=True, direction="maximize"
    )
    study.optimize(objective, n_trials=3)
    return study


memory = optuna.storages.InMemoryStorage()
run(memory), run(memory)
best = run("sqlite:///study.db").best_params
print("best_params", best)
assert all(isinstance(sizes, tuple) for sizes in suggested)
assert isinstance(best["sizes"], list)
try:
    run("sqlite:///study.db")
except ValueError as error:
    print(f"ValueError: {error}")
    assert "dynamic value space" in str(error)
else:
    raise AssertionError("the study went on")
PYTHON
