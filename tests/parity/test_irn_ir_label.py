"""IRN's confident labels."""
import json

import numpy as np

from mmwsss.pseudo_labels.mask_file import class_lut
from mmwsss.pseudo_labels.transforms import IRNLabel
from mmwsss.pseudo_labels.transforms.pseudo_masks import add_threshold

FAMILIES = ('irn_ir_label', )


def same(found, expected):
    """At most 1 % of the pixels differ, as between builds of the CRF."""
    return (found != expected).mean() <= 0.01


def test_irn_ir_label(vector):
    meta = json.loads(str(vector['meta']))
    keys, cams = np.array(meta['keys'], np.int64), vector['cams']
    lut = class_lut(keys)
    for name, threshold in (('fg', meta['conf_fg']), ('bg', meta['conf_bg'])):
        planes = add_threshold(cams, threshold).argmax(axis=0)
        expected = vector[f'{name}_argmax']
        # Positions among the planes, or values of the mask.
        assert (planes == expected).all() or (lut[planes] == expected).all()
    transform = IRNLabel(meta['conf_fg'], meta['conf_bg'])
    results = transform(
        dict(
            img_id=vector.name,
            img=vector['img'][..., ::-1],
            cams=cams,
            class_ids=keys))
    assert same(results['pseudo_mask'], vector['conf'])
