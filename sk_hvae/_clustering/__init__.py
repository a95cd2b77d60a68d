"""From the latents of rows to clusters.

`graph` joins rows to their neighbours and finds clusters in the graph, `tree` merges clusters,
`state_shares` makes of both what a categorical layer is to learn, and `lost_clusters` explains why
fewer come out of a training.
"""
