#!/usr/bin/env bash
# skrub 0.11.0 decides by the last step of a pipeline whether missing cells are filled before the
# first. Seen in the steps of tabular_pipeline(pipeline):
#   StandardScaler, SimpleImputer, LogisticRegression: ['tablevectorizer', 'simpleimputer-1', ...
#     although all steps together take NaN, and the imputer of the user comes to nothing;
#   PCA, HistGradientBoostingClassifier: ['tablevectorizer', 'pca', ...
#     and fit raises "Input X contains NaN", although tabular_pipeline is there to see to it.
