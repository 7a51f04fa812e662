"""All model components; importing this registers them."""
from mmwsss.utils.mmseg_inferencer import support_inferencer

from .backbones import *  # noqa: F401,F403
from .data_preprocessor import SegDataPreProcessor  # noqa: F401
from .discovery import *  # noqa: F401,F403
from .heads import *  # noqa: F401,F403
from .localizers import *  # noqa: F401,F403
from .losses import *  # noqa: F401,F403
from .necks import *  # noqa: F401,F403
from .refiners import *  # noqa: F401,F403
from .regularizers import *  # noqa: F401,F403
from .second_views import *  # noqa: F401,F403
from .segmentors import *  # noqa: F401,F403

support_inferencer()
