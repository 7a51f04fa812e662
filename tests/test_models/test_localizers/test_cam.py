import torch
from torch.testing import assert_close

from tests.test_models.builders import build_segmentor, resnet_cfg


def test_cam_is_the_heads_positive_map():
    model = build_segmentor(**resnet_cfg()).eval()
    image = torch.randn(2, 3, 64, 32)
    view = model.forward_view(image)
    maps = model.localizer(model, view, torch.tensor([[4, 0], [1, -1]]))
    feats = model.extract_feat(image)[-1]
    for n, k, c in ((0, 0, 4), (0, 1, 0), (1, 0, 1)):
        weight = model.cls_head.conv.weight[c]
        assert_close(maps[n, k], (feats[n] * weight).sum(0).clamp(min=0))
    assert (maps[1, 1] == 0).all()


def test_patch_cam_of_a_class_token_head():
    model = build_segmentor(localizer=dict(type='mmwsss.CAM'))
    view = model.forward_view(torch.randn(1, 3, 64, 64))
    maps = model.localizer(model, view, torch.tensor([[2]]))
    head = model.cls_head.fc
    patches = view.feats[-1].flatten(2).transpose(1, 2)
    expected = head(patches)[..., 2].relu().reshape(1, 4, 4)
    assert_close(maps[:, 0], expected)
