"""GETAM's network: pyramid, class scores, masks, CAMs, inference."""
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.segmentors import SegTTAModel

from .acr_helpers import tensor
from .getam_helpers import build_tiny

FAMILIES = ('getam_tiny_dpt', )
NET = dict(rtol=1e-4, atol=1e-5)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@torch.no_grad()
def test_forward(vector):
    model = build_tiny(vector).eval()
    image = tensor(vector['image'])
    view = model.forward_view(image, last_only=False)
    for i, feat in enumerate(view.feats):
        assert_close(feat, tensor(vector[f'reassemble{i + 1}']), **NET)
    assert_close(view.logits, tensor(vector['cls_logits']), **NET)
    assert_close(
        model.decode_head(view.feats), tensor(vector['seg_logits']), **NET)
    # Classifying and localising need only the last map.
    last, = model.forward_view(image, last_only=True).feats
    assert_close(last, tensor(vector[f'reassemble{len(view.feats)}']), **NET)


@torch.no_grad()
def test_cams(vector):
    image = tensor(vector['image'])
    n, num_classes = vector['cls_logits'].shape
    class_ids = torch.arange(num_classes).repeat(n, 1)
    compared = 0
    for start in sorted(
        {int(k.rsplit('start', 1)[1])
         for k in vector if k.startswith('getam_')}):
        model = build_tiny(
            vector, start_layer=start, test_cfg=dict(flip=False)).eval()
        request = model.localizer.attention_request(model)
        view = model.forward_view(image, request=request, last_only=True)
        maps = model.localizer(model, view, class_ids)
        for b in range(n):
            for c in range(num_classes):
                ref = tensor(vector[f'getam_class{c}_b{b}_start{start}'])
                ours = maps[b, c].flatten()
                assert_close(ours, ref, **NET)
                top = ref.max() + 1e-12
                assert_close(ours / top, ref / top, rtol=1e-3, atol=1e-3)
                compared += 1
    assert 0 < compared == sum(k.startswith('getam_') for k in vector)


@torch.no_grad()
def test_inference(vector):
    """Three square sizes, logits averaged at the image's size."""
    if 'test_image_bgr' not in vector:
        pytest.skip('this vector has no inference')
    model = build_tiny(vector).eval()
    image = vector['test_image_bgr']
    looks = []
    for size in map(int, vector.get('test_sizes', (256, 320, 480))):
        rgb = cv2.resize(image, (size, size))[..., ::-1] / 255.
        inputs = tensor(((rgb - MEAN) / STD).transpose(2, 0, 1)[None])
        logits = F.interpolate(
            model.encode_decode(inputs, [dict(img_shape=(size, size))]),
            size=image.shape[:2],
            mode='bilinear',
            align_corners=False)
        looks.append(SegDataSample(seg_logits=PixelData(data=logits[0])))
    merged, = SegTTAModel(model).merge_preds([looks])
    fused = merged.seg_logits.data
    assert_close(fused, tensor(vector['test_fused_logits']), rtol=0, atol=1e-3)
    assert_close(
        fused.softmax(0), tensor(vector['test_prob']), rtol=0, atol=1e-3)
    assert np.array_equal(merged.pred_sem_seg.data[0], fused.argmax(0))
