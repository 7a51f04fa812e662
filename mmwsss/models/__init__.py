"""All model components; importing this registers them."""
from .backbones import *  # noqa: F401,F403
from .heads import *  # noqa: F401,F403
from .localizers import *  # noqa: F401,F403
from .refiners import *  # noqa: F401,F403
from .regularizers import *  # noqa: F401,F403
from .second_views import *  # noqa: F401,F403
from .segmentors import *  # noqa: F401,F403
