"""When a model with two training phases changes from one to the other."""


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
