"""``mmwsss.Name`` resolves from every scope and in every import order."""
import subprocess
import sys

import pytest

from mmwsss import registry

RESOLVE = """
import {first}
from mmengine.registry import (HOOKS, DATASETS, DATA_SAMPLERS, METRICS,
                               MODELS, TRANSFORMS, init_default_scope)
init_default_scope({scope!r})
# As the runner does: through the root registries.
for root, name in ((HOOKS, 'AtomicCheckpointHook'),
                   (DATA_SAMPLERS, 'SeededSampler'),
                   (TRANSFORMS, 'PackWSSSInputs'),
                   (METRICS, 'CAMIoUMetric'),
                   (DATASETS, 'VOCImageLevelDataset'),
                   (MODELS, 'CAMSegmentor')):
    found = root.get('mmwsss.' + name)
    assert found is not None, name
    assert found.__module__.startswith('mmwsss.'), found
# A bare name of mmseg next to ours needs the default scope mmseg.
if {scope!r} == 'mmseg':
    with MODELS.switch_scope_and_registry(None) as models:
        assert models.get('FCNHead').__module__.startswith('mmseg.')
"""


@pytest.mark.parametrize('scope,first', [
    ('mmseg', 'mmengine'),
    ('mmpretrain', 'mmpretrain.models'),
    ('mmengine', 'mmseg.models'),
])
def test_resolves(scope, first):
    done = subprocess.run(
        [
            sys.executable, '-W', 'ignore', '-c',
            RESOLVE.format(scope=scope, first=first)
        ],
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def registries():
    from mmengine.registry import Registry
    return {
        k: v
        for k, v in vars(registry).items()
        if isinstance(v, Registry) and not k.startswith('MMENGINE')
    }


def test_registries_hang_on_the_root():
    found = registries()
    assert {'MODELS', 'DATASETS', 'TRANSFORMS', 'METRICS', 'HOOKS'} <= set(
        found)
    for name, ours in found.items():
        assert ours.scope == 'mmwsss', name
        assert ours.parent.scope == 'mmengine', name
        assert ours.parent.children['mmwsss'] is ours


def test_everything_registered_is_documented():
    for ours in registries().values():
        ours.import_from_location()
        for name, cls in ours.module_dict.items():
            if cls.__module__.startswith(('tests.', 'class_exclusion')):
                continue  # Registered by another test.
            assert cls.__doc__, f'{name} has no docstring'
            assert cls.__module__.startswith('mmwsss.'), name
