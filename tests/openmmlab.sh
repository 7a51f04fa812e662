#!/usr/bin/env bash
# Run the tests on the original distributions of OpenMMLab (mmengine, mmcv,
# mmsegmentation, mmpretrain at the versions of constraints-openmmlab.txt):
#
#   bash tests/openmmlab.sh [arguments of pytest]
#
# Slow, hence no part of .ci/run: it downloads torch and compiles mmcv's
# operations, without which mmsegmentation 1.2.2 cannot be imported.
#
# PYTHON      Python 3.10 or 3.11, torch 2.1 knows no newer. Default: python3.10
# ENV_DIR     keep the environment there, and use it again. Default: a temporary
#             folder outside the tree
# MAX_JOBS    files that are compiled at once. Default: as many as cores
# WITHOUT_OPS 1 compiles nothing: mmcv-lite, and a stand-in for the operations
#             that lets mmsegmentation be imported. No test here calls one
# Pip's own variables work too. PIP_FIND_LINKS=PAGE, with OpenMMLab's page of
# wheels for torch 2.1, saves the compilation; PIP_EXTRA_INDEX_URL=PAGE, with
# PyTorch's index of CPU wheels, the CUDA libraries.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3.10}
PINS=$PWD/constraints-openmmlab.txt
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
if [ -z "${ENV_DIR:-}" ]; then
    ENV_DIR=$(mktemp -d)
    trap 'rm -rf "$ENV_DIR"' EXIT
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] not in
        ((3, 10), (3, 11)))'; then
    echo "error: torch 2.1 needs Python 3.10 or 3.11. Set PYTHON." >&2
    exit 1
fi

# What is half built, or built from other pins, is built anew.
WANTED="WITHOUT_OPS=${WITHOUT_OPS:-}
$(cat "$PINS")"
if [ "$(cat "$ENV_DIR/built" 2>/dev/null)" != "$WANTED" ]; then
    "$PYTHON" -m venv --clear "$ENV_DIR"
    pip() {
        "$ENV_DIR/bin/python" -m pip "$1" --disable-pip-version-check \
            --constraint "$PINS" "${@:2}"
    }
    pip install setuptools wheel ninja psutil
    pip install torch torchvision numpy
    if [ -n "${WITHOUT_OPS:-}" ]; then
        pip install mmcv-lite
        cat > "$(echo "$ENV_DIR"/lib/python3.*/site-packages/mmcv)/_ext.py" \
            <<'END'
def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)

    def missing(*args, **kwargs):
        raise RuntimeError(f'mmcv has no compiled {name} here')

    return missing
END
    else
        # In isolation its build finds no torch and silently leaves out the
        # operations.
        MMCV_WITH_OPS=1 pip install --no-build-isolation mmcv
    fi
    # ftfy and regex: mmsegmentation imports them but does not ask for them.
    pip install mmengine mmsegmentation mmpretrain ftfy regex \
        scipy opencv-python matplotlib rich filelock Pillow prettytable \
        pytest pytest-xdist pycocotools
    # requirements.txt names the other distributions.
    pip install --no-build-isolation --no-deps -e .
    printf '%s\n' "$WANTED" > "$ENV_DIR/built"
fi

"$ENV_DIR/bin/python" - <<'END'
import mmcv
import mmcv.ops  # Raises where nothing was compiled.
import mmengine
import mmpretrain
import mmseg
import torch
for module in (torch, mmengine, mmcv, mmseg, mmpretrain):
    print(module.__name__, module.__version__)
END
"$ENV_DIR/bin/python" -m pytest tests "$@"
