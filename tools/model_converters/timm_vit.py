"""Convert a ViT checkpoint of timm into a backbone of ours."""
from mmwsss.models.converters.timm_vit import convert_from_command_line

if __name__ == '__main__':
    convert_from_command_line(
        'vit_base_r50_s16_384 (hybrid) or vit_base_patch16_384')
