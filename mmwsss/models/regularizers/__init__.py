"""Training losses of the papers, one file per idea."""
from .all_pairs_consistency import AllPairsConsistency
from .equivariant_regularization import EquivariantRegularization
from .regularizer import Regularizer
from .visual_words_learning import VisualWordsLearning

__all__ = [
    'Regularizer', 'AllPairsConsistency', 'EquivariantRegularization',
    'VisualWordsLearning'
]
