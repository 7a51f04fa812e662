"""Convert a DeiT checkpoint into a backbone of ours."""
from mmwsss.models.converters.timm_vit import convert_from_command_line

if __name__ == '__main__':
    convert_from_command_line(
        'deit_base_patch16_384 or deit_base_distilled_patch16_384')
