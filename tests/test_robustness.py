"""Broken and strange input, whatever reads it.

A case breaks one thing in a small world of images, tags, CAMs, masks
and checkpoints, and runs a dataset or a tool. The message must name what is
broken and what to do, every other file must be what it was before, and no
half-written one may be there.
"""
import contextlib
import io
import json
import os
import resource
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmwsss.datasets import (
    ImageLevelDataset,
    PseudoMaskDataset,
    write_image_labels,
)
from mmwsss.engine.hooks.checkpoint_hook import AtomicLocalBackend
from mmwsss.pseudo_labels import (
    read_cam,
    write_cam,
    write_instances,
    write_manifest,
    write_mask,
)
from mmwsss.pseudo_labels.proposal_file import read_proposals
from mmwsss.pseudo_labels.transforms import LoadCAMs

from .test_apis.test_cam_inferencer import save
from .test_datasets.builders import METAINFO, make_voc, write_xml
from .test_engine.test_output_hooks import make_cfg
from .test_tools import TOOLS, python

LABELS = {'a1': [0], 'b2': [0, 1], 'c3': []}
SIZE = (20, 30)
LIST = 'data/ImageSets/Segmentation/train.txt'
IMAGE = 'data/JPEGImages/b2.jpg'
MASK = 'data/SegmentationClass/b2.png'
REFINE = """
default_scope = 'mmseg'
refine_dataset = dict(
    type='mmwsss.ImageLevelDataset', data_root='data',
    ann_file='ImageSets/Segmentation/train.txt', labels_file='labels.json',
    metainfo=dict(classes=('background', 'cat', 'dog')),
    pipeline=[
        dict(type='mmwsss.LoadImage'), dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.ThresholdMask', threshold=0.4),
        dict(type='mmwsss.SaveMask')])
"""
PIPELINE = """
stages = dict(first=dict(
    command='score.py {dir}/out.json', outputs=dict(out='{dir}/out.json'),
    metrics='{dir}/out.json', rows={'masks': 'mIoU'}))
"""


# -------------------------------------------------------------------- world
@pytest.fixture(scope='module')
def template(tmp_path_factory):
    """Everything that can be broken, whole."""
    home = tmp_path_factory.mktemp('world')
    data = make_voc(home / 'data', LABELS, SIZE)
    rng = np.random.default_rng(0)
    (home / 'photos').mkdir()
    for img_id, tags in LABELS.items():
        shutil.copy(data / f'JPEGImages/{img_id}.jpg', home / 'photos')
        write_xml(data / f'Annotations/{img_id}.xml',
                  [('cat', 'dog')[t] for t in tags])
        maps = rng.random((len(tags), *SIZE), dtype=np.float32)
        write_cam(home / 'cams', img_id, tags, maps, SIZE)
        write_mask(home / 'masks', img_id, rng.integers(0, 3, SIZE))
        write_instances(home / 'instances', img_id, maps > .5,
                        np.array(tags, np.int64),
                        np.full(len(tags), .5, np.float32), SIZE)
        (home / 'irn').mkdir(exist_ok=True)
        np.save(home / f'irn/{img_id}.npy', dict(
            keys=np.array(tags, np.int64), high_res=maps))
        (data / 'Saliency').mkdir(exist_ok=True)
        cv2.imwrite(str(data / f'Saliency/{img_id}.png'),
                    np.zeros(SIZE, np.uint8))
    write_manifest(home / 'cams', num_images=len(LABELS))
    (home / 'photos/tags.csv').write_text('image,tags\na1,cat\nb2,cat;dog\n'
                                          'c3,\n')
    (home / 'classes.txt').write_text('cat\ndog\n')
    save(make_cfg(Path('data'), Path('work'), []), home)
    (home / 'refine.py').write_text(REFINE)
    (home / 'pipe.py').write_text(PIPELINE)
    (home / 'score.py').write_text(
        'import sys, pathlib\n'
        'pathlib.Path(sys.argv[1]).write_text(\'{"metrics": {"mIoU": 1}}\')')
    return home


@pytest.fixture
def world(template, tmp_path, monkeypatch):
    """A copy of it, which is where the test runs."""
    from mmengine.runner import CheckpointLoader
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        CheckpointLoader._schemes.copy())
    monkeypatch.setenv('LOCAL_RANK', '0')
    home = tmp_path / 'world'
    shutil.copytree(template, home)
    monkeypatch.chdir(home)
    return home


def contents():
    return {
        path.as_posix(): path.read_bytes()
        for path in sorted(Path('.').rglob('*'))
        if path.is_file() and not path.is_symlink()
    }


def assert_whole(path):
    """A file that appeared can be read to its end."""
    path = Path(path)
    assert '.tmp-' not in path.name, f'{path} was left'
    if path.suffix == '.json':
        json.loads(path.read_text())
    elif path.suffix == '.npz':
        read_cam(path)
    elif path.suffix in ('.png', '.jpg'):
        with Image.open(path) as picture:
            picture.load()


# ------------------------------------------------------------------ breaking
def cut(path, share=.5):
    """Keep the beginning of a file."""
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:int(share * len(data))])


def put(path, content=''):
    """Write a file, whatever it was before."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)


def gone(path):
    path = Path(path)
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def folder(path):
    """A folder where a file should be."""
    Path(path).unlink()
    Path(path).mkdir()


def picture(path, mode='L', size=SIZE, value=0):
    array = np.full(size, value, np.uint16 if mode == 'I;16' else np.uint8)
    image = Image.fromarray(array)
    image = image if mode in ('I;16', 'L') else image.convert(mode)
    image.save(path, format='png')


def huge(path):
    """A PNG whose header promises 3.6 billion pixels."""
    buffer = io.BytesIO()
    Image.new('L', (1, 1)).save(buffer, 'png')
    data = bytearray(buffer.getvalue())
    data[16:24] = (60000).to_bytes(4, 'big') * 2
    import zlib
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, 'big')
    put(path, bytes(data))


def bad_checksum(path):
    """A PNG with a flipped byte amid its pixels."""
    done, data = cv2.imencode(
        '.png',
        np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8))
    data = bytearray(data.tobytes())
    data[len(data) // 2] ^= 255
    put(path, bytes(data))


def arrays(path, **change):
    """A CAM file with other arrays."""
    content = dict(
        class_ids=np.array([0, 1], np.int16),
        cam=np.full((2, *SIZE), .5, np.float16),
        image_size=np.array(SIZE, np.int32))
    np.savez(path, **{**content, **change})


def with_nan():
    cam = np.full((2, *SIZE), .5, np.float16)
    cam[1, 3, 4] = np.nan
    arrays('cams/b2.npz', cam=cam)


def instance(**change):
    path = Path('instances/b2.json')
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def coco(**change):
    content = dict(
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')],
        images=[dict(id=i, file_name=f'{n}.jpg')
                for i, n in enumerate(LABELS)],
        annotations=[dict(image_id=0, category_id=1),
                     dict(image_id=1, category_id=2)])
    put('photos/coco.json', json.dumps({**content, **change}))


def tags(text):
    """Other tags, in csv."""
    return lambda: put('photos/tags.csv', text)


def nothing():
    pass


class Evil:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return (Path.write_text, (Path('trace'), 'code ran'))


@contextlib.contextmanager
def small_disk(limit=100):
    """No file may grow beyond ``limit`` bytes: a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What is printed goes into files, too.
    with contextlib.redirect_stdout(io.StringIO()), \
            contextlib.redirect_stderr(io.StringIO()):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ------------------------------------------------------------------- running
def tool(name, *argv):
    """Run a tool as the shell does, but in this process."""

    def run():
        before = sys.argv
        sys.argv = [name, *map(str, argv)]
        try:
            runpy.run_path(str(TOOLS / name), run_name='__main__')
        finally:
            sys.argv = before

    return run


def dataset(load_mask=False, **options):
    steps = [dict(type='mmwsss.LoadImage')]
    steps += [dict(type='mmwsss.LoadMask')] if load_mask else []
    steps += [dict(type='mmwsss.LoadSaliency')
              ] if 'saliency' in str(options) else []
    return ImageLevelDataset(**{
        **dict(
            data_root='data',
            ann_file='ImageSets/Segmentation/train.txt',
            labels_file='labels.json',
            metainfo=METAINFO,
            with_masks=load_mask,
            pipeline=steps),
        **options
    })


def samples(**options):
    """Read a whole data set."""

    def run():
        found = dataset(**options)
        return [found[i] for i in range(len(found))]

    return run


def pseudo_samples(loader='LoadAnnotations'):
    def run():
        inner = dataset(pipeline=[])
        found = PseudoMaskDataset(inner, 'masks', [
            dict(type='mmwsss.LoadImage'), dict(type=loader)
        ])
        return [found[i] for i in range(len(found))]

    return run


def load_cams():
    for img_id, labels in LABELS.items():
        LoadCAMs()(dict(
            img_id=img_id, cam_dir='cams', ori_shape=SIZE, num_classes=2,
            gt_label=np.array(labels)))


def proposals():
    return read_proposals('proposals', 'b2', SIZE)


def full(run):
    def inside():
        with small_disk():
            run()

    return inside


PHOTOS = tool('dataset_converters/custom.py', 'photos/tags.csv', 'out')
WITH_MASKS = tool('dataset_converters/custom.py', 'photos/tags.csv', 'out',
                  '--masks', 'data/SegmentationClass')


def converted(name):
    return tool('dataset_converters/custom.py', f'photos/{name}', 'out',
                '--images', 'photos')


VOC = tool('dataset_converters/voc.py', 'data')
SCORE_CAMS = tool('evaluate_cams.py', 'cams', 'model.py', '--out', 'c.json')
SCORE_MASKS = tool('evaluate_masks.py', 'masks', '--gt',
                   'data/SegmentationClass', '--split', LIST, '--classes',
                   'classes.txt', '--out', 'scores.json')
EXPORT = tool('export_instances.py', 'instances', 'model.py', 'out.json')
IRN = ('--from', 'irn', '--to', 'mmwsss')
CONVERT = tool('convert_cams.py', 'irn', 'out', *IRN, '--trust-pickle')
RUN = ('refine.py', '--cams', 'cams', '--out', 'out', '--workers', '1')
POOL = tool('refine_cams.py', *RUN)
PROPOSE = tool('make_proposals.py', 'photos', 'out')
INFER = tool('infer.py', 'model.py', 'model.pth', 'photos', '--out', 'out',
             '--device', 'cpu')
TEST = tool('test.py', 'model.py', 'model.pth', '--work-dir', 'work')
TRAIN = tool('train.py', 'model.py', '--work-dir', 'work', '--cfg-options',
             'load_from=model.pth')
BROWSE = tool('analysis_tools/browse_dataset.py', 'model.py', '--out', 'out',
              '--views', '1')
PIPE = tool('run_pipeline.py', 'pipe.py', '--work-dir', 'run')

# Name -> what is broken, what is run, what the message says.
CASES = {
    # Images
    'image-truncated': (lambda: cut(IMAGE), samples(),
                        ["'b2'", 'b2.jpg', 'corrupt', 'Replace the file']),
    'image-almost-whole': (lambda: cut(IMAGE, .98), samples(),
                           ["'b2'", 'corrupt']),
    'image-empty': (lambda: put(IMAGE), samples(), ["'b2'", 'corrupt']),
    'image-is-a-page': (lambda: put(IMAGE, '<html>404</html>'), samples(),
                        ["'b2'", 'corrupt or no image']),
    'image-is-a-folder': (lambda: folder(IMAGE), samples(),
                          ["'b2'", 'b2.jpg', 'Replace the file']),
    'image-is-huge': (lambda: huge(IMAGE), samples(), ["'b2'", 'b2.jpg']),
    'image-bad-checksum': (lambda: bad_checksum(IMAGE), samples(),
                           ["'b2'", 'corrupt']),
    'image-missing': (lambda: gone(IMAGE), samples(),
                      ['b2', 'JPEGImages', 'Restore them']),
    'image-link-to-nothing': (
        lambda: (gone(IMAGE), os.symlink('nowhere', IMAGE)), samples(),
        ["'b2'", 'no file', 'Restore it']),
    'image-folder-missing': (lambda: gone('data/JPEGImages'), samples(),
                             ['no image folder data/JPEGImages']),
    # True masks
    'mask-truncated': (lambda: cut(MASK, .8), samples(load_mask=True),
                       ["'b2'", MASK, 'corrupt']),
    'mask-empty': (lambda: put(MASK), samples(load_mask=True),
                   ["'b2'", 'corrupt']),
    'mask-in-colours': (lambda: picture(MASK, 'RGB'),
                        samples(load_mask=True),
                        ["'b2'", 'mode RGB', 'not colours']),
    'mask-16-bit': (lambda: picture(MASK, 'I;16'), samples(load_mask=True),
                    ["'b2'", 'mode I;16']),
    'mask-1-bit': (lambda: picture(MASK, '1'), samples(load_mask=True),
                   ["'b2'", 'mode 1']),
    'mask-other-size': (lambda: picture(MASK, size=(30, 20)),
                        samples(load_mask=True),
                        ["'b2'", '(20, 30)', '(30, 20)']),
    'mask-foreign-class': (lambda: picture(MASK, value=7),
                           samples(load_mask=True),
                           ['b2', 'holds [7]', 'classes in metainfo']),
    'mask-is-huge': (lambda: huge(MASK), samples(load_mask=True),
                     ["'b2'", MASK]),
    'mask-missing': (lambda: gone(MASK), samples(load_mask=True),
                     ['b2', 'SegmentationClass', 'Restore them']),
    'masks-give-tags': (lambda: picture(MASK, 'RGB'),
                        samples(labels_file=None, labels_from='masks'),
                        ["'b2'", 'mode RGB']),
    # Saliency maps
    'saliency-folder-missing': (
        lambda: gone('data/Saliency'),
        samples(data_prefix=dict(saliency_path='Saliency')),
        ['data/Saliency', 'data_prefix.saliency_path']),
    'saliency-16-bit': (
        lambda: picture('data/Saliency/b2.png', 'I;16'),
        samples(data_prefix=dict(saliency_path='Saliency')),
        ["'b2'", 'mode I;16', '8-bit']),
    'saliency-other-size': (
        lambda: picture('data/Saliency/b2.png', size=(5, 5)),
        samples(data_prefix=dict(saliency_path='Saliency')),
        ["'b2'", '(5, 5)', 'Resize the map']),
    # Lists of images
    'list-missing': (lambda: gone(LIST), samples(),
                     [LIST, 'Set ann_file']),
    'list-empty': (lambda: put(LIST, '\n\n'), samples(), [LIST, 'is empty']),
    'list-double': (lambda: put(LIST, 'a1\nb2\na1\n'), samples(),
                    ['a1 stands twice', LIST]),
    'list-of-pairs': (lambda: put(LIST, 'JPEGImages/a1.jpg x/a1.png\n'),
                      samples(), ['no image id', 'one id per line']),
    'list-utf-16': (lambda: put(LIST, 'a1\nb2\n'.encode('utf-16')),
                    samples(), [LIST, 'UTF-16', 'UTF-8']),
    'list-latin-1': (lambda: put(LIST, 'a1\nbär\n'.encode('latin-1')),
                     samples(), ['Line 2', LIST, 'UTF-8']),
    'list-without-tags': (lambda: put(LIST, 'a1\nd4\n'),
                          samples(check_files=False),
                          ['d4', 'labels.json', 'the entry []']),
    # Tags of a data set whose classes are known
    'tags-missing': (lambda: gone('data/labels.json'), samples(),
                     ['data/labels.json', 'labels_file']),
    'tags-unknown': (lambda: put('data/labels.json', '{"a1": ["kat"]}'),
                     samples(), ['a1', "'kat'", "Did you mean 'cat'"]),
    'tags-of-other-classes': (
        lambda: put('data/labels.json',
                    '{"classes": ["cow"], "labels": {"a1": ["cow"]}}'),
        samples(), ['labels.json', "['cow']", "unknown_tags='drop'"]),
    'tags-pickled': (
        lambda: np.save('data/l.npy', dict(a1=Evil())),
        samples(labels_file='l.npy'), ['l.npy', 'pickle', 'allow_pickle']),
    'tags-pickle-cut': (
        lambda: (np.save('data/l.npy', dict(a1=np.zeros(2))),
                 cut('data/l.npy', .9)),
        samples(labels_file='l.npy', allow_pickle=True),
        ['data/l.npy', 'cannot be read']),
    'tags-vector-too-long': (
        lambda: np.save('data/l.npy', dict(a1=np.zeros(20))),
        samples(labels_file='l.npy', allow_pickle=True),
        ['a1', '(20,)', '(2,)']),
    'xml-broken': (lambda: cut('data/Annotations/b2.xml'),
                   samples(labels_file=None, labels_from='xml'),
                   ['b2', 'no readable XML', 'b2.xml']),
    'xml-missing': (lambda: gone('data/Annotations/b2.xml'),
                    samples(labels_file=None, labels_from='xml'),
                    ['b2', 'no annotation file']),
    # Tags of one's own images
    'csv-empty': (tags(''), PHOTOS, ['tags.csv', 'header']),
    'csv-header-only': (tags('image,tags\n'), PHOTOS,
                        ['tags.csv', 'no image']),
    'csv-without-header': (tags('a1,cat\nb2,dog\n'), PHOTOS,
                           ["['a1', 'cat']", "'image,tags'"]),
    'csv-double': (tags('image,tags\na1,cat\nb2,dog\na1.jpg,dog\n'), PHOTOS,
                   ["'a1'", 'twice', 'Line 2', "'a1.jpg' (Line 4)"]),
    'csv-double-in-other-letters': (
        tags('image,tags\nä1,cat\na\u03081.jpg,dog\n'), PHOTOS,
        ['twice', 'Line 2', 'Line 3']),
    'csv-unknown-image': (tags('image,tags\na1,cat\nb3,dog\n'), PHOTOS,
                          ["'b3' (line 3)", 'photos', '--images']),
    'csv-outside': (tags('image,tags\n../data/JPEGImages/a1.jpg,cat\n'),
                    PHOTOS, ['Line 2', 'outside the image folder']),
    'csv-without-name': (tags('image,tags\n,cat\n'), PHOTOS,
                         ['Line 2', 'no name']),
    'csv-utf-16': (tags('image,tags\na1,cat\n'.encode('utf-16')), PHOTOS,
                   ['tags.csv', 'UTF-16', 'Save it as UTF-8']),
    'csv-latin-1': (tags('image,tags\na1,Bär\n'.encode('latin-1')), PHOTOS,
                    ['Line 2', 'tags.csv', 'not UTF-8']),
    'csv-zero-byte': (tags('image,tags\na1,cat\nb2,d\0g\n'), PHOTOS,
                      ['Line 3', 'zero byte']),
    'csv-open-quote': (tags('image,tags\na1,"cat\nb2,dog\nc3,\n'), PHOTOS,
                       ['tags.csv', 'no csv']),
    'csv-line-break-in-a-tag': (tags('image,tags\na1,"cat\ndog"\nb2,cat\n'),
                                PHOTOS, ['tags.csv', "'cat\\ndog'",
                                         'line break']),
    'csv-loose-columns': (tags('image,tags\na1,cat,dog\n'), PHOTOS,
                          ['Line 2', '3 columns', 'quotes']),
    'csv-two-separators': (tags('image,tags\na1,cat;dog\nb2,cat|dog\n'),
                           PHOTOS, ['line 2', 'line 3', 'one separator']),
    'csv-cells-are-no-flags': (tags('image,cat,dog\na1,1,maybe\n'), PHOTOS,
                               ['Line 2', "'maybe'", "'dog'", '0 nor 1']),
    'csv-short-row': (tags('image,cat,dog\na1,1\n'), PHOTOS,
                      ['Line 2', '2 columns', '3']),
    'csv-background': (tags('image,tags\na1,dog\nb2,dog;background\n'), PHOTOS,
                       ["'background' is no class", 'no tag']),
    'csv-spelling': (tags('image,tags\na1,Cat\nb2,cat\n'), PHOTOS,
                     ["'Cat' (line 2)", "'cat' (line 3)"]),
    'csv-class-twice': (tags('image,cat,cat\na1,1,0\n'), PHOTOS,
                        ["two classes are called 'cat'"]),
    'csv-no-tag-at-all': (tags('image,tags\na1,\nb2,\n'), PHOTOS,
                          ['nothing to learn']),
    'json-cut': (lambda: put('photos/t.json', '{"a1": ["cat"], "b2"'),
                 converted('t.json'), ['photos/t.json']),
    'json-double': (
        lambda: put('photos/t.json', '{"a1": ["cat"], "a1": ["dog"]}'),
        converted('t.json'), ['photos/t.json', "'a1' stands there twice"]),
    'json-null': (lambda: put('photos/t.json', '{"a1": null}'),
                  converted('t.json'), ['a1', 'None', 'list of class names']),
    'json-number-for-tags': (lambda: put('photos/t.json', '{"a1": 3}'),
                             converted('t.json'),
                             ['a1', 'not a list of class names']),
    'json-number': (lambda: put('photos/t.json', '3'), converted('t.json'),
                    ['photos/t.json', 'a int, not a mapping']),
    'json-entry-without-image': (
        lambda: put('photos/t.json',
                    '[{"image": "a1", "tags": []}, {"tags": ["cat"]}]'),
        converted('t.json'), ['entry 2', "'image'"]),
    'coco-cut': (lambda: (coco(), cut('photos/coco.json', .8)),
                 converted('coco.json'), ['coco.json', 'annotations']),
    'coco-without-categories': (lambda: coco(categories=[]),
                                converted('coco.json'),
                                ["'categories'", 'missing or empty']),
    'coco-unknown-image': (
        lambda: coco(annotations=[dict(image_id=9, category_id=1)]),
        converted('coco.json'), ["'images' lacks", '[9]']),
    'coco-unknown-category': (
        lambda: coco(annotations=[dict(image_id=0, category_id=9)]),
        converted('coco.json'), ["'categories' lacks", '[9]']),
    'coco-id-is-a-list': (
        lambda: coco(annotations=[dict(image_id=[0], category_id=1)]),
        converted('coco.json'), ['annotations[0]', "'image_id'", '[0]']),
    'coco-image-twice': (
        lambda: coco(images=[dict(id=0, file_name='a1.jpg'),
                             dict(id=1, file_name='a1.jpg')]),
        converted('coco.json'), ['images[1]', "'a1'", 'twice']),
    'xml-of-nothing': (lambda: put('photos/x/a1.xml'), converted('x'),
                       ['a1', 'no readable XML']),
    'xml-without-name': (
        lambda: put('photos/x/a1.xml',
                    '<annotation><object></object></annotation>'),
        converted('x'), ['a1', 'has no name']),
    'xml-of-something-else': (
        lambda: put('photos/x/a1.xml', '<svg/>'),
        converted('x'), ['a1.xml', '<svg>', '<annotation>']),
    'xml-in-a-strange-code': (
        lambda: put('photos/x/a1.xml',
                    '<?xml version="1.0" encoding="elvish"?><a></a>'),
        converted('x'), ['a1.xml', 'no readable XML', 'elvish']),
    'folders-with-loose-images': (
        lambda: put('photos/cats/d4.jpg', 'x'),
        tool('dataset_converters/custom.py', 'photos', 'out'),
        ['3 image(s)', "'a1.jpg'", 'background']),
    'folders-without-images': (
        lambda: put('classes/cats/readme.txt'),
        tool('dataset_converters/custom.py', 'classes', 'out'),
        ['classes', 'no image']),
    'tags-of-no-format': (lambda: put('photos/t.txt'), converted('t.txt'),
                          ['t.txt', '.csv']),
    'two-endings': (lambda: shutil.copy('photos/a1.jpg', 'photos/a1.png'),
                    PHOTOS, ["'a1.jpg' and 'a1.png'", 'Rename']),
    'two-broken-photos': (
        lambda: (cut('photos/a1.jpg'), put('photos/c3.jpg')), PHOTOS,
        ['2 of 3', 'photos/a1.jpg', 'photos/c3.jpg', 'corrupt']),
    'photo-mask-other-size': (lambda: picture(MASK, size=(5, 5)), WITH_MASKS,
                              ["'b2'", '(5, 5)']),
    'photo-mask-cut': (lambda: cut(MASK, .8), WITH_MASKS,
                       ["'b2'", 'corrupt']),
    'photos-go-into-a-file': (lambda: put('out', 'mine'), PHOTOS,
                              ['out is a file', 'Move it away']),
    'photos-config-was-edited': (
        lambda: put('out/pipeline.py', 'mine = 1'), PHOTOS,
        ['out/pipeline.py', '--overwrite']),
    # VOC
    'voc-not-there': (lambda: gone('data/JPEGImages'), VOC,
                      ['data', 'JPEGImages']),
    'voc-no-annotation': (lambda: gone('data/Annotations'), VOC,
                          ['data/Annotations']),
    'voc-list-of-others': (lambda: put(LIST, 'a1\nd4\n'), VOC,
                           ['1 of 2', 'train', 'd4']),
    'voc-list-latin-1': (lambda: put(LIST, 'bär\n'.encode('latin-1')), VOC,
                         ['Line 1', LIST, 'UTF-8']),
    'voc-object-unknown': (
        lambda: write_xml(Path('data/Annotations/b2.xml'), ['catt']), VOC,
        ['b2', "'catt'", "Did you mean 'cat'"]),
    'coco-2014-not-there': (nothing,
                            tool('dataset_converters/coco.py', 'data'),
                            ['train2014', 'Unpack']),
    # Pseudo masks
    'pseudo-mask-missing': (lambda: gone('masks/b2.png'), pseudo_samples(),
                            ['1 of 3', 'b2', 'tools/refine_cams.py']),
    'pseudo-mask-cut': (lambda: cut('masks/b2.png', .95), pseudo_samples(),
                        ["'b2'", 'b2.jpg', 'truncated']),
    'pseudo-mask-empty': (lambda: put('masks/b2.png'), pseudo_samples(),
                          ["'b2'", 'masks/b2.png', 'cannot read']),
    'pseudo-mask-cut-for-us': (lambda: cut('masks/b2.png', .95),
                               pseudo_samples('mmwsss.LoadMask'),
                               ["'b2'", 'masks/b2.png', 'corrupt']),
    'pseudo-mask-other-size': (lambda: picture('masks/b2.png', size=(5, 5)),
                               pseudo_samples(), ["'b2'", '(5, 5)']),
    'pseudo-mask-in-colours': (lambda: picture('masks/b2.png', 'RGB'),
                               pseudo_samples(), ["'b2'", 'mode RGB']),
    'pseudo-mask-is-huge': (lambda: huge('masks/b2.png'), pseudo_samples(),
                            ["'b2'", 'masks/b2.png']),
    # CAMs
    'cams-nan': (with_nan, SCORE_CAMS,
                 ['cams/b2.npz', '[0, 1]', 'nan', 'write it again']),
    'cams-above-1': (
        lambda: arrays('cams/b2.npz', cam=np.full((2, *SIZE), 2.)),
        SCORE_CAMS, ['cams/b2.npz', '[0, 1]', '2..2']),
    'cams-cut': (lambda: cut('cams/b2.npz'), SCORE_CAMS,
                 ['cams/b2.npz', 'damaged', 'write it again']),
    'cams-empty-file': (lambda: put('cams/b2.npz'), SCORE_CAMS,
                        ['cams/b2.npz']),
    'cams-of-another-image': (
        lambda: arrays('cams/b2.npz', image_size=np.array([9, 9])),
        SCORE_CAMS, ['cams/b2.npz', '9 x 9', '20 x 30']),
    'cams-of-another-class': (
        lambda: arrays('cams/b2.npz', class_ids=np.array([0, 5])),
        SCORE_CAMS, ['cams/b2.npz', 'in 0..1']),
    'cams-with-objects': (
        lambda: np.savez('cams/b2.npz', cam=np.array(Evil(), object)),
        SCORE_CAMS, ['cams/b2.npz', 'no CAM file']),
    'cams-lack-a-part': (lambda: np.savez('cams/b2.npz', cam=np.zeros(3)),
                         SCORE_CAMS, ['cams/b2.npz', "'class_ids'"]),
    'cams-missing': (lambda: gone('cams/b2.npz'), SCORE_CAMS,
                     ['b2', 'cams/b2.npz', 'tools/test.py']),
    'cams-with-other-tags': (
        lambda: arrays('cams/a1.npz', class_ids=np.array([0, 1])), load_cams,
        ['a1', '[0, 1]', '[0]', 'other tags']),
    'cams-out-is-in-a-file': (
        lambda: put('file', 'mine'),
        tool('evaluate_cams.py', 'cams', 'model.py', '--out', 'file/c.json'),
        ['file is a file']),
    # CAMs of others
    'irn-not-trusted': (lambda: np.save('irn/b2.npy', dict(keys=Evil())),
                        tool('convert_cams.py', 'irn', 'out', *IRN),
                        ['irn/a1.npy', 'pickle', '--trust-pickle']),
    'irn-cut': (lambda: cut('irn/b2.npy'), CONVERT,
                ['irn/b2.npy', 'cannot be read']),
    'irn-nan': (
        lambda: np.save('irn/b2.npy', dict(
            keys=np.array([0]), high_res=np.full((1, *SIZE), np.nan))),
        CONVERT, ['irn/b2.npy', 'nan', 'not normalised']),
    'irn-is-psa': (
        lambda: np.save('irn/b2.npy', {0: np.zeros(SIZE, np.float32)}),
        CONVERT, ['irn/b2.npy', 'is --from right?']),
    'irn-folder-empty': (lambda: (gone('irn'), Path('irn').mkdir()), CONVERT,
                         ['irn holds no .npy file']),
    'irn-goes-into-a-file': (lambda: put('out', 'mine'), CONVERT,
                             ['out is a file']),
    # The pool that refines
    'refine-nan': (with_nan, POOL, ['b2', 'cams/b2.npz', 'nan']),
    'refine-image-cut': (lambda: cut(IMAGE), POOL,
                         ['b2', 'b2.jpg', 'corrupt']),
    'refine-cams-missing': (lambda: gone('cams/b2.npz'), POOL,
                            ['1 of 3', 'b2', 'tools/test.py']),
    'refine-no-cams': (lambda: gone('cams'), POOL,
                       ['no folder of CAMs cams']),
    'refine-into-a-file': (lambda: put('out', 'mine'), POOL,
                           ['out is a file', 'Move it away']),
    'refine-settings-damaged': (lambda: put('out/settings.json', '{"pipe'),
                                POOL, ['out/settings.json', '--overwrite']),
    'refine-foreign-masks': (lambda: put('out/b2.png', 'mine'), POOL,
                             ['b2.png', 'settings.json', '--overwrite']),
    'refine-into-its-cams': (
        nothing, tool('refine_cams.py', *RUN[:4], 'cams', '--workers', '1'),
        ['cams', 'different folders']),
    'refine-cams-manifest': (lambda: put('cams/manifest.json', '{'), POOL,
                             ['cams/manifest.json', 'not JSON']),
    # Masks to be scored
    'score-missing': (lambda: gone('masks/b2.png'), SCORE_MASKS,
                      ['1 of 3', 'b2', '--split']),
    'score-cut': (lambda: cut('masks/b2.png', .9), SCORE_MASKS,
                  ["'b2'", 'masks/b2.png', 'corrupt']),
    'score-other-size': (lambda: picture('masks/b2.png', size=(5, 5)),
                         SCORE_MASKS, ['b2', '(5, 5)', '(20, 30)']),
    'score-foreign-class': (lambda: picture('masks/b2.png', value=9),
                            SCORE_MASKS, ['b2', '[9]']),
    'score-list-latin-1': (lambda: put(LIST, 'bär\n'.encode('latin-1')),
                           SCORE_MASKS, ['Line 1', LIST, 'UTF-8']),
    'score-no-class': (lambda: put('classes.txt', ' \n'), SCORE_MASKS,
                       ['classes.txt', 'names no class']),
    # Instances and proposals
    'instances-cut': (lambda: cut('instances/b2.json'), EXPORT,
                      ['instances/b2.json', 'no JSON', 'write it again']),
    'instances-size-is-a-number': (lambda: instance(image_size=20), EXPORT,
                                   ['instances/b2.json', 'damaged']),
    'instances-labels-are-names': (
        lambda: instance(labels=['cat', 'dog']), EXPORT,
        ['instances/b2.json', 'damaged']),
    'instances-too-few-labels': (lambda: instance(labels=[0]), EXPORT,
                                 ['instances/b2.json', 'labels']),
    'instances-do-not-fill': (lambda: instance(masks=[[3], [5]]), EXPORT,
                              ['instances/b2.json', '20 * 30']),
    'instances-missing': (lambda: gone('instances/b2.json'), EXPORT,
                          ['b2', '1 of 3', 'tools/test.py']),
    'proposals-missing': (nothing, proposals, ['b2', 'proposals/b2.json']),
    'proposals-cut': (lambda: put('proposals/b2.json', '[{"segm'), proposals,
                      ['proposals/b2.json', 'no JSON', 'again']),
    'proposals-of-odd-polygons': (
        lambda: put('proposals/b2.json', '[{"segmentation": [[1, 2, 3]]}]'),
        proposals, ['proposals/b2.json', 'proposal 0', 'polygon']),
    'proposals-of-another-image': (
        lambda: (Path('proposals').mkdir(),
                 picture('proposals/b2.png', size=(5, 5), value=1)),
        proposals, ['proposals/b2.png', '5 x 5', '20 x 30']),
    'propose-broken-photo': (lambda: cut('photos/b2.jpg'), PROPOSE,
                             ["'b2'", 'photos/b2.jpg', 'corrupt']),
    'propose-two-endings': (
        lambda: shutil.copy('photos/a1.jpg', 'photos/a1.png'), PROPOSE,
        ["'a1.jpg' and 'a1.png'", 'Rename']),
    'propose-nothing': (
        lambda: [gone(p) for p in Path('photos').glob('*.jpg')], PROPOSE,
        ['no images in photos']),
    'propose-into-a-file': (lambda: put('out', 'mine'), PROPOSE,
                            ['out is a file']),
    # Checkpoints
    'checkpoint-cut': (lambda: cut('model.pth'), TEST,
                       ['model.pth', 'cut short', 'copy it again']),
    'checkpoint-empty': (lambda: put('model.pth'), TEST,
                         ['model.pth', 'cut short']),
    'checkpoint-is-a-page': (lambda: put('model.pth', '<html></html>'), TEST,
                             ['model.pth', 'refused']),
    'checkpoint-with-code': (
        lambda: torch.save(dict(state_dict=Evil()), 'model.pth'), TEST,
        ['model.pth', 'arbitrary code', '--trust-checkpoint']),
    'checkpoint-to-train-from-cut': (lambda: cut('model.pth'), TRAIN,
                                     ['model.pth', 'cut short']),
    'checkpoint-noted-but-gone': (
        lambda: put('work/last_checkpoint', 'work/iter_9.pth'),
        tool('test.py', 'model.py', 'work', '--work-dir', 'work'),
        ['work/last_checkpoint', 'work/iter_9.pth', 'gone']),
    'config-missing': (lambda: gone('model.py'), TEST,
                       ['There is no config model.py']),
    # Images from anywhere
    'infer-broken-photo': (lambda: cut('photos/b2.jpg'), INFER,
                           ["'b2'", 'photos/b2.jpg', 'corrupt']),
    'infer-nothing': (
        lambda: [gone(p) for p in Path('photos').glob('*.jpg')], INFER,
        ['photos holds no images']),
    'infer-two-endings': (
        lambda: shutil.copy('photos/a1.jpg', 'photos/a1.png'), INFER,
        ["'a1'", 'photos/a1.jpg', 'different folders']),
    'infer-broken-video': (
        lambda: put('clip.mp4', b'\0' * 100),
        tool('infer.py', 'model.py', 'model.pth', 'clip.mp4', '--out', 'out'),
        ['clip.mp4', 'no video']),
    'infer-unknown-tag': (
        nothing,
        tool('infer.py', 'model.py', 'model.pth', 'photos', '--out', 'out',
             '--tags', 'cats'), ["'cats'", "Did you mean 'cat'"]),
    'infer-tags-lack-a-photo': (
        lambda: put('photos/tags.csv', 'image,tags\na1,cat\n'),
        tool('infer.py', 'model.py', 'model.pth', 'photos', '--out', 'out',
             '--tags-file', 'photos/tags.csv'), ['2 of 3', 'b2', 'c3']),
    'infer-into-a-file': (lambda: put('out', 'mine'), INFER,
                          ['out is a file']),
    'infer-other-results': (lambda: put('out/masks/b2.png', 'mine'), INFER,
                            ['out', 'settings.json', '--overwrite']),
    # What is looked at
    'browse-broken-image': (lambda: cut(IMAGE), BROWSE,
                            ["'b2'", 'b2.jpg', 'corrupt']),
    # Pipelines
    'pipeline-results-cut': (lambda: put('run/results.json', '{"stages": ['),
                             PIPE, ['run/results.json', 'damaged',
                                    'delete it']),
    'pipeline-metrics-are-none': (
        lambda: put('score.py', 'import sys, pathlib\n'
                    'pathlib.Path(sys.argv[1]).write_text("[]")'), PIPE,
        ["'first'", 'run/first/out.json', 'no result']),
    'pipeline-without-stages': (lambda: put('pipe.py', 'x = 1'), PIPE,
                                ['pipe.py', 'no pipeline config']),
    'pipeline-into-a-file': (lambda: put('run', 'mine'), PIPE,
                             ['run is a file']),
    # A full disk
    'full-cams': (
        nothing,
        full(lambda: write_cam('cams', 'a1', [0], np.eye(90)[None],
                               (90, 90))), ['File too large', 'cams/a1.npz']),
    'full-masks': (
        nothing,
        full(lambda: write_mask('masks', 'a1', np.eye(90, dtype=int))),
        ['File too large', 'masks/a1.png']),
    'full-checkpoint': (
        nothing,
        full(lambda: AtomicLocalBackend().put(b'x' * 1000, 'model.pth')),
        ['File too large', 'model.pth']),
    'full-tags': (
        nothing,
        full(lambda: write_image_labels('data/labels.json', ('cat', 'dog'),
                                        LABELS)),
        ['File too large', 'data/labels.json']),
    'full-proposals': (nothing, full(PROPOSE), ['File too large', 'out/']),
}


def test_enough_cases():
    assert len(CASES) >= 60


@pytest.mark.parametrize('name', CASES)
def test_broken(name, world):
    damage, run, wanted = CASES[name]
    damage()
    before = contents()
    with pytest.raises((OSError, ValueError, SystemExit)) as info:
        run()
    message = info.value
    if isinstance(message, SystemExit):  # What tools end with.
        message = message.code
    message = str(message)
    for words in wanted:
        assert words in message, message
    after = contents()
    for path, data in before.items():
        assert after.pop(path, None) == data, f'{path} was changed'
    for path in after:
        assert_whole(path)
    assert 'trace' not in after, 'a pickle was run'


def test_the_whole_world_works(world):
    """No case above fails for another reason than what it breaks."""
    coco()
    for run in (samples(), samples(load_mask=True), pseudo_samples(),
                pseudo_samples('mmwsss.LoadMask'), load_cams, PHOTOS,
                converted('coco.json'), VOC, SCORE_CAMS, SCORE_MASKS, EXPORT,
                CONVERT, POOL, PROPOSE, INFER, BROWSE, PIPE, TEST):
        run()
        shutil.rmtree('out', ignore_errors=True)
    scores = json.loads(Path('scores.json').read_text())
    assert scores['metrics']['num_images'] == 3
    assert json.loads(Path('c.json').read_text())['metrics']
    assert len(json.loads(Path('out.json').read_text())['images']) == 3
    assert Path('work/metrics.json').is_file()


@pytest.mark.parametrize('name,argv,wanted', [
    ('dataset_converters/custom.py', ['photos/tags.csv', 'out'],
     'photos/b2.jpg is corrupt'),
    ('evaluate_masks.py', ['masks', '--gt', 'data/SegmentationClass',
                           '--split', LIST, '--classes', 'none.txt'],
     'no list of class names none.txt'),
])
def test_in_a_shell(world, name, argv, wanted):
    cut('photos/b2.jpg')
    done = python(TOOLS / name, *argv, cwd=world, check=False)
    assert done.returncode == 1 and wanted in done.stderr
    assert 'error: ' in done.stderr and 'Traceback' not in done.stderr
    assert not (world / 'out').exists()


# --------------------------------------------------------- strange but right
STRANGE = {
    'grey.jpg': lambda rgb, file: rgb.convert('L').save(
        file, 'jpeg', quality=98),
    'cmyk.jpg': lambda rgb, file: rgb.convert('CMYK').save(
        file, 'jpeg', quality=98),
    'progressive.jpeg': lambda rgb, file: rgb.save(
        file, 'jpeg', quality=98, progressive=True),
    'rgba.png': lambda rgb, file: rgb.convert('RGBA').save(file, 'png'),
    'palette.png': lambda rgb, file: rgb.convert(
        'P', palette=Image.ADAPTIVE).save(file, 'png'),
    'one bit.PNG': lambda rgb, file: rgb.convert('1').save(file, 'png'),
    'deep.png': lambda rgb, file: file.write(
        cv2.imencode('.png', np.array(rgb)[..., ::-1].astype(np.uint16) * 257)
        [1].tobytes()),
    'grey deep.png': lambda rgb, file: Image.fromarray(
        np.array(rgb.convert('L')).astype(np.uint16) * 257).save(file, 'png'),
    'Fenêtre à Ω.JPG': lambda rgb, file: rgb.save(file, 'jpeg', quality=98),
    'tagged.tif': lambda rgb, file: rgb.save(file, 'tiff'),
    'with more.webp': lambda rgb, file: rgb.save(file, 'webp', quality=98),
}


@pytest.mark.parametrize('name', STRANGE)
def test_strange_images(world, name):
    """From the photo to the sample, through the converter."""
    rng = np.random.default_rng(1)
    rgb = cv2.resize(rng.integers(0, 256, (3, 4, 3), np.uint8), (40, 30))
    rgb = Image.fromarray(rgb)
    with open(f'photos/{name}', 'wb') as file:
        STRANGE[name](rgb, file)
    put('photos/tags.csv', f'image,tags\na1,cat\nb2,dog\n{name},cat;dog\n')
    PHOTOS()
    found = ImageLevelDataset(
        data_root='out', labels_file='image_labels.json', img_suffix='any',
        data_prefix=dict(img_path=str(world / 'photos')),
        pipeline=[dict(type='mmwsss.LoadImage')])
    sample = found[2]
    assert sample['img_id'] == name.rpartition('.')[0]
    assert sample['gt_label'].tolist() == [0, 1]
    if 'grey' in name:
        rgb = rgb.convert('L').convert('RGB')
    elif 'one bit' in name:
        rgb = rgb.convert('1').convert('RGB')
    wanted = np.array(rgb)[..., ::-1].astype(int)
    assert sample['img'].shape == (30, 40, 3)
    assert np.abs(sample['img'] - wanted).mean() < 6


def test_exif_rotation(world, capsys):
    """Stored pixels count, for they are what masks belong to; it is said."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(IMAGE) as image:
        image.save(IMAGE, exif=exif)
        image.save('photos/b2.jpg', exif=exif)
    for sample in samples(load_mask=True)():
        assert sample['img'].shape[:2] == sample['gt_seg_map'].shape == SIZE
    PHOTOS()
    output = capsys.readouterr().out
    assert '1 image(s)' in output and 'EXIF' in output and 'b2' in output


@pytest.mark.parametrize('text', [
    '\ufeffimage,tags\r\na1.jpg,cat\r\nb2.jpg,cat;dog\r\nc3.jpg,\r\n',
    'image;tags\na1;cat\nb2;"cat|dog"\nc3;\n',
    ' Image , Tags \n a1 , cat \n b2 , cat ; dog \nc3\n\n',
    'image,cat,dog\na1,1,0\nb2,1,1\nc3,0,0\n',
    ',image,cat,dog\n0,.\\a1.jpg,1.0,0.0\n1,b2.jpg,True,True\n2,c3.jpg,,\n',
    'image\ttags\na1\tcat\nb2\tcat,dog\nc3\t\n',
])
def test_strange_csv(world, text):
    put('photos/tags.csv', text)
    PHOTOS()
    found = json.loads(Path('out/image_labels.json').read_text())
    assert found['classes'] == ['cat', 'dog']
    assert found['labels'] == dict(a1=['cat'], b2=['cat', 'dog'], c3=[])


def test_strange_names(world):
    """Decomposed letters of a Mac, blanks, folders, and its hidden files."""
    Path('photos/été 2020').mkdir()
    shutil.copy('photos/c3.jpg', 'photos/e\u0301te\u0301 2020/IMG 1.JPG'
                if Path('photos/e\u0301te\u0301 2020').is_dir() else
                'photos/été 2020/IMG 1.JPG')
    put('photos/._a1.jpg', 'no image')
    put('photos/tags.csv',
        'image,tags\na1,cat\nb2,dog\ne\u0301te\u0301 2020/IMG 1.JPG,cat\n')
    PHOTOS()
    labels = json.loads(Path('out/image_labels.json').read_text())['labels']
    assert labels['été 2020/IMG 1'] == ['cat']
    shutil.rmtree('out')
    PROPOSE()
    assert Path('out/été 2020/IMG 1.json').is_file()
    shutil.rmtree('out')
    INFER()
    assert Path('out/masks/été 2020/IMG 1.png').is_file()
    assert len(list(Path('out/masks').rglob('*.png'))) == 4


@pytest.mark.parametrize('text', [
    '\ufeffa1\r\nb2\r\nc3\r\n', '  a1\nb2  \n\n\nc3', 'a1.jpg\nb2.jpg\nc3.jpg'
])
def test_strange_lists(world, text):
    put(LIST, text)
    assert [s['img_id'] for s in samples()()] == list(LABELS)
    if '.jpg' not in text:
        SCORE_MASKS()
        put('classes.txt', '\ufeffbackground\r\ncat\r\ndog\r\n')
        SCORE_MASKS()
        scores = json.loads(Path('scores.json').read_text())['metrics']
        assert scores['num_images'] == 3
        assert list(scores['IoU']) == ['background', 'cat', 'dog']


def test_wrong_palette(world):
    """Indices count, colours do not."""
    before = samples(load_mask=True)()[1]['gt_seg_map']
    with Image.open(MASK) as mask:
        mask.putpalette([255, 0, 0] * 256)
        mask.save(MASK)
    after = samples(load_mask=True)()[1]['gt_seg_map']
    assert np.array_equal(before, after) and before.max() == 255


def test_json_with_a_mark(world):
    text = Path('data/labels.json').read_text()
    put('data/labels.json', '\ufeff' + text.replace('\n', '\r\n'))
    assert [s['gt_label'].tolist() for s in samples()()] == [[0], [0, 1], []]


def test_broken_photos_can_be_skipped(world):
    cut('photos/b2.jpg')
    tool('infer.py', 'model.py', 'model.pth', 'photos', '--out', 'out',
         '--device', 'cpu', '--skip-broken')()
    assert {p.stem for p in Path('out/masks').glob('*.png')} == {'a1', 'c3'}
    # With the photo restored the same command goes on.
    shutil.copy(IMAGE, 'photos')
    INFER()
    assert {p.stem for p in Path('out/masks').glob('*.png')} == set(LABELS)


def test_a_pool_goes_on_after_a_repair(world):
    whole = Path('cams/b2.npz').read_bytes()
    with_nan()
    with pytest.raises(SystemExit):
        POOL()
    put('cams/b2.npz', whole)
    POOL()
    assert len(list(Path('out').glob('*.png'))) == 3
    assert Path('out/manifest.json').is_file()


def test_temporary_files_of_killed_writers_go(world):
    """Tools clean the folders that they write to, and nothing else."""
    for name in ('cams', 'masks', 'instances'):
        put(f'out/{name}/.b2.tmp-abc.png', 'half')
    put('out/.b2.tmp-xyz.json', 'half')
    put('out/.keep', 'mine')
    PROPOSE()
    left = [p for p in Path('out').rglob('.*') if p.is_file()]
    assert sorted(left) == [Path('out/.keep'), Path('out/.run.lock')]
    put('cams/.b2.tmp-abc.npz', 'half')
    cfg = Config.fromfile('model.py')
    cfg.custom_hooks = [dict(type='mmwsss.SaveCAMsHook')]
    cfg.dump('model.py')
    tool('test.py', 'model.py', 'model.pth', '--work-dir', 'work', '--out',
         'cams')()
    assert not list(Path('cams').glob('.*'))
    assert len(list(Path('cams').glob('*.npz'))) == 3


def test_helpers_break_what_they_say(world):
    """A world that is not broken proves nothing."""
    size = Path(IMAGE).stat().st_size
    cut(IMAGE)
    assert Path(IMAGE).stat().st_size == size // 2
    with pytest.raises(OSError), small_disk(10):
        Path('x').write_bytes(b'x' * 100)
    Path('y').write_bytes(b'x' * 100)
    with_nan()
    assert np.isnan(np.load('cams/b2.npz')['cam']).sum() == 1
