"""What the tools do, as functions.

    from mmwsss.apis import train, extract_cams, refine_cams

Names are imported when they are first used: some need seconds. So no module
may have the name of a function here.
"""
from importlib import import_module
from typing import Any

_HOMES = dict(
    CAMInferencer='cam_inferencer',
    evaluate_cams='score_cams',
    evaluate_masks='score_masks',
    export_model='export',
    extract_cams='run',
    infer='cam_inferencer',
    load_config='run',
    masks_from_tags='photo_masks',
    refine_cams='refine',
    run_pipeline='pipeline_run',
    test='run',
    train='run')

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
