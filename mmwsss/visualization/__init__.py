"""Pictures of CAMs."""
from .curve import plot_curve
from .gallery import Gallery
from .history import plot_history
from .overlay import color_mask, overlay_cam, overlay_mask, shrink
from .run_page import RunPage
from .strip import draw_strip
from .word_usage import plot_word_usage

__all__ = [
    'Gallery', 'RunPage', 'color_mask', 'draw_strip', 'overlay_cam',
    'overlay_mask', 'plot_curve', 'plot_history', 'plot_word_usage', 'shrink'
]
