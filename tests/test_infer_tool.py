"""tools/infer.py, from the command line to the files."""
import runpy

import pytest
import torch
from mmengine.config import Config

from mmwsss.datasets import write_image_labels
from mmwsss.pseudo_labels import read_cam

from .test_apis.test_cam_inferencer import HOOKS, save
from .test_datasets.builders import CLASSES, make_voc
from .test_engine.test_output_hooks import make_cfg
from .test_tools import TOOLS, parser, python

LABELS = {'a1': [0], 'b2': [0, 1], 'c3': []}


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp('home')
    data = make_voc(folder / 'data', LABELS)
    config, weights = save(make_cfg(data, folder / 'run', HOOKS), folder)
    return folder, data / 'JPEGImages', config, weights


def main(*arguments, monkeypatch):
    """Run the tool in this process."""
    monkeypatch.setattr('sys.argv', ['infer.py', *map(str, arguments)])
    runpy.run_path(str(TOOLS / 'infer.py'), run_name='__main__')


def tags_of(folder):
    return {
        p.stem: [CLASSES[c] for c in read_cam(p).class_ids]
        for p in sorted(folder.glob('*.npz'))
    }


def test_arguments():
    args = parser('infer.py')(['x.py', 'y.pth', 'a.jpg', 'b/', '--out', 'o'])
    assert (args.config, args.checkpoint, args.images, args.out) == (
        'x.py', 'y.pth', ['a.jpg', 'b/'], 'o')
    assert (args.tags, args.tags_file, args.threshold, args.tag_threshold,
            args.batch_size, args.device) == (None, None, None, None, 4, None)
    assert not (args.trust_checkpoint or args.overwrite or args.skip_broken)


@pytest.mark.parametrize('argv', [
    ['x.py', 'y.pth', '--out', 'o'],
    ['x.py', 'y.pth', 'a.jpg'],
    ['x.py', 'y.pth', 'a', '--out', 'o', '--tags', 'a', '--tags-file', 'b'],
])
def test_bad_arguments(argv, capsys):
    with pytest.raises(SystemExit):
        parser('infer.py')(argv)
    assert 'usage:' in capsys.readouterr().err


def test_from_a_shell(home, tmp_path):
    folder, images, config, weights = home
    done = python(
        TOOLS / 'infer.py', config, weights, images, '--out', 'seen',
        '--tags', 'dog, cat', '--device', 'cpu', cwd=tmp_path)
    assert 'a1: cat ' in done.stdout and ', dog ' in done.stdout
    assert 'seen: 3 images, of which 0 cannot be read' in done.stdout
    assert tags_of(tmp_path / 'seen' / 'cams') == dict.fromkeys(
        LABELS, ['cat', 'dog'])
    assert len(list((tmp_path / 'seen' / 'masks').glob('*.png'))) == 3
    assert len(list((tmp_path / 'seen' / 'overlays').glob('*.jpg'))) == 3


def test_again(home, tmp_path, monkeypatch, capsys):
    folder, images, config, weights = home
    arguments = (config, weights, images, '--out', tmp_path / 'seen', '--tags',
                 'dog')
    main(*arguments, monkeypatch=monkeypatch)
    assert 'a1: dog 0.' in capsys.readouterr().out
    # The same command has nothing to do, another one is refused.
    files = sorted((tmp_path / 'seen').rglob('*.*g'))
    before = [path.stat().st_mtime_ns for path in files]
    main(*arguments, monkeypatch=monkeypatch)
    # Files do not hold the score.
    assert 'a1: dog\n' in capsys.readouterr().out
    assert len(files) == 6
    assert [path.stat().st_mtime_ns for path in files] == before
    with pytest.raises(SystemExit, match='made with other settings'):
        main(*arguments, '--threshold', '0.9', monkeypatch=monkeypatch)


def test_tags_from_a_file(home, tmp_path, monkeypatch, capsys):
    folder, images, config, weights = home
    expected = {i: [CLASSES[c] for c in ids] for i, ids in LABELS.items()}
    for name in ('labels.json', 'labels.csv'):
        path = tmp_path / name
        if name.endswith('json'):
            write_image_labels(path, CLASSES, LABELS)
        else:
            path.write_text('image,tags\na1,cat\nb2,cat;dog\nc3,\n')
        out = tmp_path / name[-3:]
        main(config, weights, images, '--out', out, '--tags-file', path,
             '--device', 'cpu', monkeypatch=monkeypatch)
        assert tags_of(out / 'cams') == expected
        assert 'c3: nothing' in capsys.readouterr().out
    path.write_text('image,tags\na1,cat\n')
    with pytest.raises(SystemExit, match='2 of 3 images have no tags: b2'):
        main(config, weights, images, '--out', out, '--tags-file', path,
             monkeypatch=monkeypatch)


def test_options(home, tmp_path, monkeypatch, capsys):
    folder, images, config, weights = home
    (tmp_path / 'broken.jpg').write_bytes(b'x')
    inputs = (config, weights, images / 'a1.jpg', tmp_path / 'broken.jpg')
    with pytest.raises(SystemExit, match='broken.jpg is corrupt'):
        main(*inputs, '--out', tmp_path / 'o', monkeypatch=monkeypatch)
    main(*inputs, '--out', tmp_path / 'o', '--skip-broken', '--overwrite',
         '--cfg-options', 'model.test_cfg.flip=False',
         'model.test_cfg.tag_threshold=0.0', monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert '2 images, of which 1 cannot be read' in out
    assert 'broken' not in out.split('\n')[0]
    assert tags_of(tmp_path / 'o' / 'cams') == dict(a1=['cat', 'dog'])
    with pytest.raises(SystemExit, match='no config .*nope.py'):
        main('nope.py', *inputs[1:], '--out', 'o', monkeypatch=monkeypatch)


def test_a_model_with_other_classes(home, tmp_path, monkeypatch):
    folder, images, config, weights = home
    cfg = Config.fromfile(config)
    cfg.model.cls_head.num_classes = 3
    cfg.dump(tmp_path / 'other.py')
    with pytest.raises(SystemExit, match='another architecture'):
        main(tmp_path / 'other.py', weights, images, '--out', tmp_path / 'o',
             monkeypatch=monkeypatch)
    state = torch.load(weights, weights_only=True)['state_dict']
    assert state and not (tmp_path / 'o').exists()
