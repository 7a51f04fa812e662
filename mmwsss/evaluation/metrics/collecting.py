"""What metrics do with the results of several processes."""
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log


def first_of_each(results: Sequence[Any]) -> list[Any]:
    """Each image once, though samplers pad to equal shares.

    Args:
        results (Sequence[Any]): One per image, with ``img_id``; those whose
            ``img_id`` is None are all kept.

    Returns:
        list: The first result of every image.
    """
    seen, kept = set(), []
    for image in results:
        if image.img_id is None or image.img_id not in seen:
            seen.add(image.img_id)
            kept.append(image)
    if len(kept) < len(results):
        print_log(
            f'{len(results) - len(kept)} image(s) came twice and count once.',
            logger='current')
    return kept
