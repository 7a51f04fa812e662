"""Training losses of the papers, one file per idea."""
from .all_pairs_consistency import AllPairsConsistency
from .class_token_contrast import ClassTokenContrast
from .equivariant_regularization import EquivariantRegularization
from .explicit_pseudo_pixel_supervision import ExplicitPseudoPixelSupervision
from .fine_grained_background_contrast import FineGrainedBackgroundContrast
from .local_crop_contrast import LocalCropContrast
from .patch_token_contrast import PatchTokenContrast
from .pixel_prototype_contrast import PixelPrototypeContrast
from .regularizer import Regularizer
from .visual_words_learning import VisualWordsLearning

__all__ = [
    'Regularizer', 'AllPairsConsistency', 'ClassTokenContrast',
    'EquivariantRegularization', 'ExplicitPseudoPixelSupervision',
    'FineGrainedBackgroundContrast', 'LocalCropContrast',
    'PatchTokenContrast', 'PixelPrototypeContrast',
    'VisualWordsLearning'
]
