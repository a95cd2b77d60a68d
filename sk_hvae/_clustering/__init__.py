"""From the latents of rows to clusters.

`graph` joins rows to their neighbours and cuts the graph, `tree` orders the clusters, and `targets`
makes of both what a categorical layer is to learn.
"""
