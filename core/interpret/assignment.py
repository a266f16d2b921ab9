"""The assignment problem: which one-to-one matching of rows and columns is worth most."""

from __future__ import annotations

import numpy as np

_FAR = np.iinfo(np.int64).max


def best_matching(worth: np.ndarray) -> np.ndarray:
    """Return the column of each row, int64 (n,), for which the sum of ``worth`` is largest.

    ``worth`` holds integers, shape (n, n), that sum to less than 2^61. The Hungarian method with
    potentials, one shortest augmenting path for each row, O(n³), exact in integers (Kuhn 1955;
    Jonker & Volgenant 1987, doi 10.1007/BF02278710). Of equally good matchings the result is
    always the same one.
    """
    worth = np.asarray(worth)
    if worth.ndim != 2 or worth.shape[0] != worth.shape[1] or worth.dtype.kind not in "iu":
        raise ValueError(f"worth is {worth.dtype} {worth.shape}; expected integers, (n, n).")
    size = len(worth)
    # Costs to be made small; row and column 0 stand for "not matched yet".
    cost = np.zeros((size + 1, size + 1), np.int64)
    cost[1:, 1:] = int(worth.max(initial=0)) - worth.astype(np.int64)
    of_row, of_column = np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64)
    row_of = np.zeros(size + 1, np.int64)
    for row in range(1, size + 1):
        row_of[0], column = row, 0
        distance = np.full(size + 1, _FAR)
        came_from = np.zeros(size + 1, np.int64)
        done = np.zeros(size + 1, bool)
        while row_of[column]:
            done[column] = True
            reached = row_of[column]
            reduced = cost[reached] - of_row[reached] - of_column
            nearer = ~done & (reduced < distance)
            distance[nearer], came_from[nearer] = reduced[nearer], column
            open_columns = np.where(done, _FAR, distance)
            open_columns[0] = _FAR
            following = int(open_columns.argmin())
            step = distance[following]
            of_row[row_of[done]] += step
            of_column[done] -= step
            distance[~done] -= step
            column = following
        while column:
            earlier = came_from[column]
            row_of[column] = row_of[earlier]
            column = int(earlier)
    matched = np.empty(size, np.int64)
    matched[row_of[1:] - 1] = np.arange(size)
    return matched
