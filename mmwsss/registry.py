"""Registries of mmwsss.

Every registry is a direct child of the mmengine root registry and names the
package its components live in. Being a child of the root (not of mmseg's
registries) makes ``mmwsss.Name`` resolve from any default scope and in any
import order; ``locations`` are imported the first time a registry is asked
for something, so importing this module is cheap.
"""
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import INFERENCERS as MMENGINE_INFERENCERS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import (
    OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
)
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

#: Where transforms live; workers of a pool import them once.
TRANSFORM_PACKAGES = [
    'mmwsss.datasets.transforms', 'mmwsss.pseudo_labels.transforms'
]

MODELS = Registry(
    'model',
    parent=MMENGINE_MODELS,
    locations=['mmwsss.models', 'mmwsss.pseudo_labels'])
DATASETS = Registry(
    'dataset', parent=MMENGINE_DATASETS, locations=['mmwsss.datasets'])
DATA_SAMPLERS = Registry(
    'data sampler',
    parent=MMENGINE_DATA_SAMPLERS,
    locations=['mmwsss.datasets'])
TRANSFORMS = Registry(
    'transform',
    parent=MMENGINE_TRANSFORMS,
    locations=TRANSFORM_PACKAGES)
METRICS = Registry(
    'metric', parent=MMENGINE_METRICS, locations=['mmwsss.evaluation'])
HOOKS = Registry('hook', parent=MMENGINE_HOOKS, locations=['mmwsss.engine'])
OPTIM_WRAPPERS = Registry(
    'optim wrapper',
    parent=MMENGINE_OPTIM_WRAPPERS,
    locations=['mmwsss.engine'])
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS,
    locations=['mmwsss.engine'])
INFERENCERS = Registry(
    'inferencer',
    parent=MMENGINE_INFERENCERS,
    locations=['mmwsss.apis.cam_inferencer'])
