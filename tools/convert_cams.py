"""Convert CAMs from and to the file formats of other code bases."""
import argparse
from pathlib import Path

from mmwsss.apis.command_line import plain_errors
from mmwsss.pseudo_labels.cam_exchange import FORMATS, convert_file, find_files
from mmwsss.pseudo_labels.cam_file import MANIFEST, write_manifest
from mmwsss.utils.io import make_folder, remove_temporary


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Formats: irn (keys, cam, high_res; also ReCAM, AMN, '
        'VWL), psa (a map per class; also SEAM, EPS), mmwsss (ours).',
        epilog='example: python tools/convert_cams.py result/cam '
        'work_dirs/cams --from irn --to mmwsss --trust-pickle')
    parser.add_argument('src', help='folder of CAMs')
    parser.add_argument('dst', help='folder to write to')
    parser.add_argument(
        '--from', dest='source', choices=FORMATS, required=True)
    parser.add_argument('--to', dest='target', choices=FORMATS, required=True)
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='load pickles; these can run code, so only for files of your '
        'own or of people you trust')
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='folder of images, needed where files do not tell their size')
    return parser.parse_args(argv)


def convert(args: argparse.Namespace) -> int:
    """Convert a folder; returns the number of files."""
    src, dst = Path(args.src), Path(args.dst)
    if args.source == args.target:
        raise ValueError(f'Both formats are {args.source!r}; nothing to do.')
    files = find_files(src, args.source)
    make_folder(dst)
    (dst / MANIFEST).unlink(missing_ok=True)
    remove_temporary(dst)
    for img_id, path in files:
        convert_file(path, img_id, args.source, dst, args.target,
                     args.trust_pickle, args.images)
    if args.target == 'mmwsss':
        write_manifest(
            dst, source=str(src), converted_from=args.source,
            num_images=len(files))
    return len(files)


def main() -> None:
    args = parse_args()
    with plain_errors():
        number = convert(args)
    print(f'{number} files are in {args.dst}')


if __name__ == '__main__':
    main()
