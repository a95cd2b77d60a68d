"""What is needed of scikit-learn beyond its public interface, and what its tools see of ours.

`fitted_state` is where an estimator keeps what it was fitted to.
"""
