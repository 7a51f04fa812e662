"""What ``mmwsss.apis`` offers, and what the tools share."""
import inspect
import subprocess
import sys

import pytest

import mmwsss.apis
from mmwsss.apis.command_line import plain_errors
from mmwsss.utils.errors import WorkError


@pytest.mark.parametrize('name', mmwsss.apis.__all__)
def test_every_name_is_there_and_typed(name):
    found = getattr(mmwsss.apis, name)
    assert found.__doc__ and found.__name__ == name
    if inspect.isfunction(found):
        signature = inspect.signature(found)
        for parameter in signature.parameters.values():
            assert parameter.annotation is not parameter.empty, parameter
        assert signature.return_annotation is not signature.empty


def test_names_that_are_not_there():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        mmwsss.apis.trian


def test_inferencer_is_registered():
    from mmengine.registry import INFERENCERS
    assert INFERENCERS.get('mmwsss.CAMInferencer') is \
        mmwsss.apis.CAMInferencer


def test_importing_the_api_is_cheap():
    code = ('import sys, mmwsss.apis; '
            'print([m for m in sys.modules if m.startswith("mmwsss.models")])')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                          capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == '[]'


@pytest.mark.parametrize('error, code', [
    (ValueError('this key'), '\nerror: this key'),
    (FileNotFoundError('no file'), '\nerror: no file'),
    (KeyError('a key'), '\nerror: a key'),
    (WorkError('stage x failed'), '\nerror: stage x failed'),
    (KeyboardInterrupt(), 130),
])
def test_errors_become_messages(error, code, capsys):
    with pytest.raises(SystemExit) as stopped, plain_errors():
        raise error
    assert stopped.value.code == code
    if code == 130:
        assert 'run the same command again' in capsys.readouterr().err


def test_bugs_keep_their_traceback():
    with pytest.raises(ZeroDivisionError), plain_errors():
        1 / 0
    with pytest.raises(RuntimeError, match='shapes'), plain_errors():
        raise RuntimeError('shapes cannot be multiplied')
