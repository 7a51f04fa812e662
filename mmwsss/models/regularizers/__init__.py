"""Training losses of the papers, one file per idea."""
from .all_pairs_consistency import AllPairsConsistency
from .equivariant_regularization import EquivariantRegularization
from .regularizer import Regularizer

__all__ = [
    'Regularizer', 'AllPairsConsistency', 'EquivariantRegularization'
]
