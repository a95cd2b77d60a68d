"""What is needed of scikit-learn beyond its public interface.

`privates` is the one door for its private names, and `callbacks` for its callback protocol.
`inner_fits` does what its PCA, k-means and neighbours do, and `documentation` sets the links of
estimators in notebooks.
"""
