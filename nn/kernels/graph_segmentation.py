"""Cutting a graph into pieces whose inside is more alike than their borders.

Felzenszwalb and Huttenlocher, Efficient Graph-Based Image Segmentation, 2004, section 3 and 4. The
edges come by rising weight. An edge between two pieces joins them if it is no heavier than either
piece's own heaviest edge (of those that joined it), to which small pieces add an allowance:

    weight <= min(heaviest(a) + scale / |a|, heaviest(b) + scale / |b|)

In a second pass edges join what is still smaller than ``min_size``.

Arrays: edges (E, 2) int64 with the nodes' numbers, weights (E,) float64, both by rising weight;
labels (P,) int64, for each node the lowest number of a node of its piece. E, the number of edges.
"""

import numpy as np

from nn.kernels.machine.jit import device, kernel


def graph_segmentation_reference(edges, weights, scale, min_size, labels):
    labels[:] = np.arange(len(labels))
    sizes, heaviest = np.ones(len(labels), np.int64), np.zeros(len(labels))
    for small_only in (False, True):
        for (one, other), weight in zip(edges, weights, strict=True):
            a, b = sorted((labels[one], labels[other]))
            allowed = heaviest[[a, b]] + scale / sizes[[a, b]]
            if a != b and (
                sizes[[a, b]].min() < min_size if small_only else weight <= allowed.min()
            ):
                labels[labels == b] = a
                sizes[a] += sizes[b]
                heaviest[a] = weight


@device
def root_of(parents, node):
    """The piece of a node; every node on the way gets a shorter way."""
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node


@kernel(twin=graph_segmentation_reference, parallel=False)
def graph_segmentation(edges, weights, scale, min_size, labels):
    P = labels.size
    sizes, heaviest = np.ones(P, np.int64), np.zeros(P)
    for node in range(P):
        labels[node] = node
    for small_only in range(2):
        for edge in range(weights.size):
            one, other = root_of(labels, edges[edge, 0]), root_of(labels, edges[edge, 1])
            a, b = min(one, other), max(one, other)
            if a == b:
                continue
            if small_only:
                joins = min(sizes[a], sizes[b]) < min_size
            else:
                allowed = min(heaviest[a] + scale / sizes[a], heaviest[b] + scale / sizes[b])
                joins = weights[edge] <= allowed
            if joins:
                labels[b] = a
                sizes[a] += sizes[b]
                heaviest[a] = weights[edge]
    for node in range(P):
        labels[node] = root_of(labels, node)
