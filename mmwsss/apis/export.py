"""Models as ONNX or TorchScript files: the work of tools/export_model.py."""
import importlib.util
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn

from mmwsss.models.localizers.fusion import (
    fuse_maps,
    normalize_maps,
    resize_maps,
)
from mmwsss.models.segmentors import CAMSegmentor, EndToEndSegmentor
from mmwsss.utils.io import atomic_write

from .cam_inferencer import CAMInferencer
from .run import ConfigLike, PathLike, load_config

#: Largest difference of exported and own maps that rounding explains.
TOLERANCE = 1e-3


class ExportedMaps(nn.Module):
    """A CAM model from grey levels to maps, without data samples.

    Scales and flips of ``test_cfg`` are part of it; the threshold and the
    choice of classes are left to whoever runs it.

    Args:
        model (CAMSegmentor): The model.
    """
    outputs = ('cams', 'tag_scores')

    def __init__(self, model: CAMSegmentor) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """CAMs of all classes.

        Args:
            image (Tensor): float32 (1, 3, H, W), BGR, 0 to 255.

        Returns:
            tuple[Tensor, Tensor]: ``cams`` (1, K, H, W) in [0, 1], each
            divided by its own maximum whether its class is there or not, and
            ``tag_scores`` (1, K), the probability that it is.
        """
        model, size = self.model, tuple(int(s) for s in image.shape[-2:])
        inputs = normalize(model, image)
        ids = torch.arange(model.num_classes, device=image.device)[None]
        views, _, scores = model.compute_cams(inputs, ids)
        maps = fuse_maps([
            resize_maps(view[0], size, model.align_corners, covered)
            for view, covered in views
        ], model.test_cfg['fuse'])
        maps = normalize_maps(maps, model.test_cfg['normalize'],
                              model.test_cfg['eps']).clamp(min=0)
        return maps[None], scores


class ExportedLogits(nn.Module):
    """A segmentation model from grey levels to logits.

    Args:
        model (BaseSegmentor): With ``encode_decode``.
    """
    outputs = ('logits', )

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Logits of all labels.

        Args:
            image (Tensor): float32 (1, 3, H, W), BGR, 0 to 255.

        Returns:
            Tensor: (1, K + 1, H, W).
        """
        size = tuple(int(s) for s in image.shape[-2:])
        metas = [dict(img_shape=size, ori_shape=size, pad_shape=size)]
        return self.model.encode_decode(normalize(self.model, image), metas)


def normalize(model: nn.Module, image: Tensor) -> Tensor:
    """What the model's preprocessor does to a picture, without padding.

    Args:
        model (nn.Module): With ``data_preprocessor``.
        image (Tensor): (1, 3, H, W), BGR, 0 to 255.

    Returns:
        Tensor: (1, 3, H, W).
    """
    prep = model.data_preprocessor
    if getattr(prep, '_channel_conversion', False):
        image = image[:, [2, 1, 0]]
    if getattr(prep, '_enable_normalize', False):
        image = (image - prep.mean) / prep.std
    return image


def exportable(model: nn.Module) -> nn.Module:
    """What can be written of a model.

    Args:
        model (nn.Module): The model.

    Returns:
        nn.Module: From an image to tensors.

    Raises:
        ValueError: If its maps need what neither ONNX nor TorchScript has.
    """
    if getattr(model.data_preprocessor, 'test_cfg', None):
        raise ValueError('The data_preprocessor pads images in testing '
                         '(test_cfg), which the file would not. Take its '
                         'test_cfg out of the config.')
    if isinstance(model, EndToEndSegmentor) or not isinstance(
            model, CAMSegmentor):
        return ExportedLogits(model)
    request = model.localizer.attention_request(model)
    if request is not None and request.differentiates:
        raise ValueError(
            f'{type(model.localizer).__name__} differentiates the network to '
            'read CAMs, and exported networks have no gradients. '
            'Export a model whose maps are a forward pass, e.g. '
            "localizer=dict(type='mmwsss.CAM'), or the segmentation model "
            'that was trained on the masks.')
    return ExportedMaps(model)


def export_onnx(module: nn.Module, image: Tensor, path: Path) -> None:
    """Write an ONNX file.

    Args:
        module (nn.Module): Of :func:`exportable`.
        image (Tensor): An example; the file takes this size.
        path (Path): The file.

    Raises:
        ValueError: If a part of the model has no counterpart in ONNX.
    """
    if importlib.util.find_spec('onnx') is None:
        raise ValueError('Writing ONNX takes the package onnx: '
                         'pip install onnx onnxruntime')
    try:
        with atomic_write(path) as temp:
            torch.onnx.export(
                module, (image, ),
                str(temp),
                input_names=['image'],
                output_names=list(module.outputs),
                opset_version=17,
                dynamo=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ValueError(
            f'{type(module.model).__name__} cannot be written as ONNX: '
            f'{str(error).splitlines()[0]} Try --format torchscript.'
        ) from error


def export_torchscript(module: nn.Module, image: Tensor, path: Path) -> None:
    """Write a TorchScript file.

    Args:
        module (nn.Module): Of :func:`exportable`.
        image (Tensor): An example; the file takes this size.
        path (Path): The file.
    """
    with atomic_write(path) as temp:
        torch.jit.save(
            torch.jit.trace(module, image, check_trace=False), str(temp))


def run_exported(path: Path, image: np.ndarray) -> list[np.ndarray]:
    """Run an exported file the way others do.

    Args:
        path (Path): ``.onnx`` or TorchScript.
        image (np.ndarray): float32 (1, 3, H, W), BGR, 0 to 255.

    Returns:
        list[np.ndarray]: Its outputs.

    Raises:
        ImportError: If onnxruntime is missing.
    """
    if path.suffix == '.onnx':
        import onnxruntime
        session = onnxruntime.InferenceSession(
            str(path), providers=['CPUExecutionProvider'])
        return session.run(None, dict(image=image))
    with torch.no_grad():
        result = torch.jit.load(str(path))(torch.from_numpy(image))
    result = result if isinstance(result, tuple) else (result, )
    return [x.numpy() for x in result]


def largest_difference(module: nn.Module, path: Path,
                       image: Tensor) -> dict[str, float]:
    """Compare an exported file with the model on another image.

    Args:
        module (nn.Module): What was exported.
        path (Path): The file.
        image (Tensor): Of the size of the file.

    Returns:
        dict[str, float]: Output name -> largest difference, as a share of
        its largest value where this exceeds 1.
    """
    with torch.no_grad():
        ours = module(image)
    ours = ours if isinstance(ours, tuple) else (ours, )
    theirs = run_exported(path, image.numpy())
    return {
        name: float(np.abs(a.numpy() - b).max() / max(a.abs().max(), 1.))
        for name, a, b in zip(module.outputs, ours, theirs)
    }


def export_model(config: ConfigLike,
                 checkpoint: PathLike,
                 out: PathLike,
                 *,
                 size: Sequence[int],
                 format: str | None = None,
                 cfg_options: Mapping[str, Any] | None = None,
                 trust_checkpoint: bool = False) -> dict[str, Any]:
    """Write a model as one file that other programs run.

    Args:
        config (str | Path | Config): The config.
        checkpoint (str | Path): The checkpoint.
        out (str | Path): The file.
        size (Sequence[int]): Height and width of its input, or one number
            for both.
        format (str, optional): 'onnx' or 'torchscript'. Defaults to what the
            suffix of ``out`` says.
        cfg_options (Mapping[str, Any], optional): See
            :func:`~mmwsss.apis.load_config`.
        trust_checkpoint (bool): Whether checkpoints may run code when they
            are read. Defaults to False.

    Returns:
        dict: What ``{out}.json`` holds: ``inputs``, ``outputs``,
        ``classes``, ``size``, ``threshold`` and ``differences`` (None where
        nobody here can run the file).

    Raises:
        FileNotFoundError: If the config or checkpoint is missing.
        ValueError: If the model cannot be exported, or the file gives other
            results than the model.
    """
    if len(size) not in (1, 2) or min(size) < 1:
        raise ValueError('--size must be one or two positive numbers, is '
                         f'{list(size)}.')
    size = list(size) * (3 - len(size))
    out = Path(out)
    kind = format or ('onnx' if out.suffix == '.onnx' else 'torchscript')
    inferencer = CAMInferencer(
        load_config(config, cfg_options),
        checkpoint,
        device='cpu',
        trusted=trust_checkpoint)
    module = exportable(revert_sync_batchnorm(inferencer.model)).eval()
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randint(256, (1, 3, *size), generator=generator).float()
        for _ in range(2))
    write = export_onnx if kind == 'onnx' else export_torchscript
    with torch.no_grad(), warnings.catch_warnings():
        # The size is meant to be that of the example.
        warnings.simplefilter('ignore', torch.jit.TracerWarning)
        write(module, first, out)
    differences = None
    try:
        differences = largest_difference(module, out, second)
    except ImportError:
        print_log(
            f'{out} was not run: pip install onnxruntime.', logger='current')
    if differences and max(differences.values()) > TOLERANCE:
        out.unlink()
        raise ValueError(f'The exported file differs from the model '
                         f'({differences}), so it was removed.')
    test_cfg = getattr(inferencer.model, 'test_cfg', None) or {}
    facts = dict(
        format=kind,
        inputs=dict(image='float32 (1, 3, height, width), BGR, 0 to 255'),
        outputs=list(module.outputs),
        size=list(size),
        classes=list(inferencer.classes),
        threshold=test_cfg.get('threshold') if isinstance(
            module, ExportedMaps) else None,
        config=getattr(inferencer.cfg, 'filename', None),
        checkpoint=inferencer.checkpoint,
        differences=differences)
    with atomic_write(out.with_name(out.name + '.json')) as temp:
        temp.write_text(json.dumps(facts, indent=2) + '\n')
    return facts
