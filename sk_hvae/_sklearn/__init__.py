"""What is needed of scikit-learn beyond its public interface, and what its tools see of ours."""
