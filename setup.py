"""Build and install mmwsss.

Besides the package itself a wheel holds ``configs``, ``tools`` and
``model-index.yml``, as ``mmwsss/.mim``, the place where OpenMMLab's package
manager looks for them.
"""
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ('configs', 'tools', 'model-index.yml')


def version() -> str:
    facts = {}
    exec((ROOT / 'mmwsss' / 'version.py').read_text(encoding='utf-8'), facts)
    return facts['__version__']


def requirements() -> list:
    lines = (ROOT / 'requirements.txt').read_text(encoding='utf-8')
    lines = [line.split('#')[0].strip() for line in lines.splitlines()]
    return [line for line in lines if line]


def readme() -> str:
    path = ROOT / 'README.md'
    return path.read_text(encoding='utf-8') if path.is_file() else ''


class BuildWithConfigs(build_py):
    """Adds configs, tools and their index to what is built."""

    def run(self) -> None:
        super().run()
        if getattr(self, 'editable_mode', False):
            return  # They stay where they are, beside the package.
        for name in SHIPPED:
            target = Path(self.build_lib) / 'mmwsss' / '.mim' / name
            # A previous build may have held files that are gone by now.
            shutil.rmtree(target, ignore_errors=True)
            if (ROOT / name).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)
                continue
            shutil.copytree(
                ROOT / name,
                target,
                ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))


setup(
    name='mmwsss',
    version=version(),
    description='Weakly-supervised semantic segmentation from image-level '
    'labels, as an extension of MMSegmentation',
    long_description=readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmwsss', 'mmwsss.*']),
    package_data={
        'mmwsss': ['py.typed'],
        'mmwsss.datasets': ['*.txt'],
        'mmwsss.visualization': ['*.html']
    },
    install_requires=requirements(),
    extras_require={
        # Has to be compiled; without it a torch implementation runs.
        'crf': ['pydensecrf2'],
        # Tags in .xlsx files.
        'excel': ['openpyxl'],
        # Any network of timm as a frozen backbone (configs/frozen).
        'timm': ['timm'],
        # Pictures of iPhones.
        'heif': ['pillow-heif'],
        # configs/segmentation/mask2former_*.py; mmcv's compiled operations,
        # which mmdet imports, are not needed (mmwsss/utils/mmcv_ops.py).
        'mask2former': ['onedl-mmdetection'],
        # tools/export_model.py
        'onnx': ['onnx', 'onnxruntime'],
        'test': [
            'pytest', 'pytest-xdist', 'ruff', 'pydensecrf2', 'openpyxl', 'timm'
        ],
    },
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
    keywords='weakly supervised, semantic segmentation, class activation '
    'maps, openmmlab',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ])
