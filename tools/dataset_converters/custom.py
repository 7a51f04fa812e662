"""Prepare images of your own: check tags and images, write a config."""
import argparse
import shlex
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.custom_config import check_config, configs_for, parse_columns
from mmwsss.apis.photo_masks import DEFAULT_PIPELINE
from mmwsss.apis.run import pretrained_paths
from mmwsss.datasets.custom import CustomData, read_custom, write_custom
from mmwsss.datasets.tags import FORMATS
from mmwsss.utils.io import atomic_write
from mmwsss.utils.weight_sources import command_for


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Reads tags in any format, makes sure that every image '
        'is there and can be read, and writes to OUT the tags '
        '(image_labels.json), lists of training and validation images '
        '(train.txt, val.txt) and a config for them (config.py). Images stay '
        'where they are.',
        epilog='example: python tools/dataset_converters/custom.py '
        'photos/tags.csv data/photos')
    parser.add_argument(
        'tags',
        help='csv, Excel or JSON file, export of Label Studio, CVAT, LabelMe, '
        'VIA or Datumaro, instances of COCO, folder of VOC XML files, or '
        'folder with one folder of images per class; see docs/data.md')
    parser.add_argument('out', help='folder to write to')
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='folder of the images (default: that of the tags)')
    parser.add_argument(
        '--format',
        choices=[f for f in FORMATS if f != 'npy'],
        help='format of the tags (default: look at them)')
    parser.add_argument(
        '--columns',
        nargs='+',
        default=[],
        metavar='KEY=NAME',
        help='how columns (or keys of JSON) are called, e.g. image=Path '
        'labels=Finding, or labels=cat,dog for a column per class '
        '(default: look at them)')
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME',
        help='only these classes, in this order (default: all)')
    parser.add_argument(
        '--val',
        type=float,
        default=0.1,
        metavar='SHARE',
        help='share of the images to validate on (default: 0.1)')
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='decides which images these are (default: 0)')
    parser.add_argument(
        '--masks',
        metavar='DIR',
        help='true masks of all or some images, to measure; where only some '
        'have one, these are the validation images')
    parser.add_argument(
        '--mask-suffix',
        metavar='END',
        help='what masks are called after the name of their image, e.g. '
        '_mask.png (default: .png, else look)')
    parser.add_argument(
        '--mask-values',
        nargs='+',
        metavar='VALUE=NAME',
        help='what values of masks stand for, e.g. 255=defect 128=ignore, '
        '255=tag (the only tag of each image) or, of colours, 128,0,0=defect '
        '(default: 0 background, then the classes, 255 ignored); translated '
        'masks go to OUT')
    parser.add_argument(
        '--no-class',
        nargs='+',
        default=[],
        metavar='NAME',
        help='tags that say that nothing is there, e.g. good: such images '
        'count as background')
    parser.add_argument(
        '--window',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='which values become black and white in images of more than 8 '
        'bits, e.g. 0 4095')
    parser.add_argument(
        '--saliency',
        metavar='DIR',
        help='saliency maps, for configs that learn from them')
    parser.add_argument(
        '--base',
        nargs='+',
        metavar='CONFIG',
        help='configs to make ones for these images of: the first becomes '
        'config.py, further ones keep their names without the data set; of a '
        'pipeline, pipeline.py and all that it runs '
        f'(default: {DEFAULT_PIPELINE})')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace configs in OUT that were edited or made otherwise')
    parser.add_argument(
        '--no-check',
        action='store_true',
        help='do not read every image')
    return parser.parse_args(argv)


def show(data: CustomData) -> None:
    print(f'{data.format} tags; images in {data.images}')
    train, val = data.count('train'), data.count('val')
    width = max(len(name) for name in (*data.classes, 'without tag')) + 2
    print(f'{"class":{width}}{"train":>8}{"val":>8}')
    rows = [*zip(data.classes, train, val)]
    rows.append(('without tag', *(sum(not data.labels[i] for i in ids)
                                  for ids in data.lists.values())))
    rows.append(('images', *map(len, data.lists.values())))
    for name, *numbers in rows:
        print(f'{name:{width}}' + ''.join(f'{n:8}' for n in numbers))
    for note in data.notes:
        print(f'note: {note}')


def missing_weights(configs: Iterable[Path]) -> list[tuple[str, bool]]:
    """Initial weights to get before training, and whether it needs them."""
    found = {}
    for config in configs:
        model = Config.fromfile(config).get('model') or {}
        for where, path in pretrained_paths(model):
            if path.startswith('checkpoints/') and not Path(path).exists():
                # A frozen network is nothing without its weights.
                needed = not where.startswith('model.backbone.init_cfg')
                found[path] = found.get(path, False) or needed
    return sorted(found.items())


def convert(args: argparse.Namespace) -> None:
    data = read_custom(
        args.tags,
        args.images,
        args.masks,
        args.format,
        args.classes,
        args.val,
        args.seed,
        check_images=not args.no_check,
        columns=parse_columns(args.columns),
        no_class=args.no_class,
        mask_values=args.mask_values,
        mask_suffix=args.mask_suffix,
        window=args.window)
    show(data)
    configs = configs_for(
        args.base or [DEFAULT_PIPELINE],
        args.out,
        images=data.images,
        num_classes=len(data.classes),
        has_val=bool(data.lists['val']),
        # Translated ones go where masks are looked for.
        masks=None if data.translated else data.masks,
        window=data.window,
        saliency=args.saliency and Path(args.saliency).resolve())
    for path, text in configs.items():
        if not args.overwrite:
            check_config(path, text)
    # From here on nothing is in doubt.
    write_custom(data, args.out)
    for path, text in configs.items():
        with atomic_write(path) as temp:
            temp.write_text(text, encoding='utf-8')
        print(f'wrote {path}')
    print(f'wrote {Path(args.out) / "image_labels.json"}, train.txt, val.txt')
    if args.saliency and not any('saliency_path' in t
                                 for t in configs.values()):
        print('note: no config here learns from saliency maps; --saliency '
              'was not used')
    for path, needed in missing_weights(configs):
        print(f'note: {path} is not there yet; trainings begin with these '
              f'weights. {command_for(path, str(next(iter(configs))))}' +
              ('' if needed else
               'model.backbone.init_cfg=None in the config trains without'))
    first, text = next(iter(configs.items()))
    tool, more = 'train', ''
    if 'refine_dataset' in text:
        tool = 'refine_cams'
    elif first.name == 'pipeline.py':
        tool, more = 'run_pipeline', '' if data.masks else ' --no-scores'
    print(f'next: python tools/{tool}.py {shlex.quote(str(first))}{more}')


def main() -> None:
    with plain_errors():
        convert(parse_args())


if __name__ == '__main__':
    main()
