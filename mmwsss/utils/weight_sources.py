"""Where the initial weights that our configs name come from."""
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Where a checkpoint comes from.

    Attributes:
        library (str): 'torchvision', 'timm', 'mmpretrain' or 'mmseg'; '' if
            no library knows it.
        name (str): What it is called there; of mmseg, a config whose backbone
            begins with it.
        convert (str): 'vit' renames timm's parameters, 'dinov2' those of a
            DINOv2, 'layer3' leaves out what follows the third stage of a
            ResNet, '' takes it as it is.
        note (str): What a person should know; without library, what to do.
    """
    library: str
    name: str
    convert: str = ''
    note: str = ''


#: Name of a file in checkpoints/ -> where it comes from.
SOURCES: dict[str, Source] = {
    'resnet50.pth': Source('torchvision', 'ResNet50_Weights'),
    'resnet101.pth': Source('torchvision', 'ResNet101_Weights'),
    'resnet18_stem_to_layer3.pth': Source(
        'torchvision', 'ResNet18_Weights', 'layer3'),
    'vit_base_r50_s16_384.pth': Source('timm', 'vit_base_r50_s16_384',
                                       'vit'),
    'vit_base_p16_224.pth': Source('timm', 'vit_base_patch16_224', 'vit'),
    'vit_base_p16_384.pth': Source('timm', 'vit_base_patch16_384', 'vit'),
    'deit_tiny_patch16_224.pth': Source('timm', 'deit_tiny_patch16_224',
                                        'vit'),
    'deit_small_patch16_224.pth': Source('timm', 'deit_small_patch16_224',
                                         'vit'),
    'deit_base_patch16_224.pth': Source('timm', 'deit_base_patch16_224',
                                        'vit'),
    'deit_base_patch16_384.pth': Source('timm', 'deit_base_patch16_384',
                                        'vit'),
    'deit_base_distilled_patch16_384.pth': Source(
        'timm', 'deit_base_distilled_patch16_384', 'vit'),
    'vit_tiny_p16_224.pth': Source(
        'timm', 'deit_tiny_patch16_224', 'vit',
        'the numbers in our documents began with another ViT-Ti/16'),
    'tf_efficientnet_lite2.pth': Source('timm', 'tf_efficientnet_lite2'),
    'dinov2_vits14.pth': Source('timm', 'vit_small_patch14_dinov2', 'dinov2'),
    'dino_vits8.pth': Source('timm', 'vit_small_patch8_224.dino', 'vit'),
    'dino_vits16.pth': Source('timm', 'vit_small_patch16_224.dino', 'vit'),
    'mobilenet_v2.pth': Source('mmpretrain', 'mobilenet-v2_8xb32_in1k'),
    'resnet38.pth': Source(
        '', '', note='get ilsvrc-cls_rna-a1_cls1000_ep-0001.params ("Wider '
        'or Deeper", model A1) and convert it: python tools/'
        'model_converters/resnet38.py IN OUT'),
    'mit_b2.pth': Source(
        'mmseg', 'segformer/segformer_mit-b2_8xb2-160k_ade20k-512x512'),
    'resnet101_coco.pth': Source(
        '', '', note='get deeplabv1_resnet101-coco.pth and convert it: '
        'python tools/model_converters/deeplab_resnet.py IN OUT'),
}


def command_for(path: str, config: str | None) -> str:
    """What to do about a missing checkpoint, for messages.

    Args:
        path (str): The checkpoint.
        config (str, optional): The config that wants it.

    Returns:
        str: A sentence; empty if nothing is known about such a file.
    """
    if Path(path).name not in SOURCES:
        return ''
    return f'Get it with: python tools/get_weights.py {config or "CONFIG"}. '
