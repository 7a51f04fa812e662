"""Pictures of class maps."""
from .curve import plot_curve
from .gallery import Gallery, image_iou
from .history import plot_history
from .overlay import color_mask, overlay_cam, overlay_mask, shrink
from .strip import draw_strip
from .word_usage import plot_word_usage

__all__ = [
    'Gallery', 'color_mask', 'draw_strip', 'image_iou', 'overlay_cam',
    'overlay_mask', 'plot_curve', 'plot_history', 'plot_word_usage', 'shrink'
]
