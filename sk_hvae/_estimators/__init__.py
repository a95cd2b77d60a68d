"""The estimators behind scikit-learn's conventions: parameters in, fitted attributes out."""
