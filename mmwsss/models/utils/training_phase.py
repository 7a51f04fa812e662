"""When a model with two training phases changes from one to the other."""
from mmengine.logging import MessageHub


def segments_at(step: int, max_steps: int, seg_start: float) -> bool:
    """Whether the segmentation branch is trained in a step.

    Phase 1, classification only, lasts while (t - 1) < ``seg_start`` * T
    (GETAM, https://arxiv.org/abs/2112.02841). With t counted from 1 that is
    ceil(``seg_start`` * T) steps, the milestone of a learning rate that
    changes with the phase. (The published loop counts from 0 and so stays in
    phase 1 for one step more.)

    Args:
        step (int): t; the first step is 1.
        max_steps (int): T, the steps of the whole training.
        seg_start (float): Share of the steps before phase 2, 0 to 1.

    Returns:
        bool: True in phase 2.
    """
    return step - 1 >= seg_start * max_steps


def has_reached(share: float) -> bool:
    """Whether a share of the running training is over.

    The step is read from where the runner notes it, so a resumed run is where
    it was.

    Args:
        share (float): Of all steps, 0 to 1.

    Returns:
        bool: True outside a runner.
    """
    hub = MessageHub.get_current_instance()
    done, steps = hub.get_info('iter'), hub.get_info('max_iters')
    if done is None or steps is None:
        return True
    return segments_at(done + 1, steps, share)
