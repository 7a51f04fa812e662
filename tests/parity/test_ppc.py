"""PPC in its three settings, and SEAM's losses on the maps of EPS."""
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.regularizers import (
    EquivariantRegularization,
    PixelPrototypeContrast,
)
from mmwsss.models.regularizers.equivariant_regularization import (
    adaptive_min_pooling_loss,
)
from mmwsss.models.regularizers.pixel_prototype_contrast import (
    cosines_of,
    intra_view_contrast,
    keep_assigned,
    prototype_contrast,
    resized,
)
from mmwsss.models.utils.pixel_selection import scores_from_maps
from mmwsss.structures import ViewOutput, ViewPair

from .acr_helpers import tensor
from .base_helpers import check, classes, ids, meta

FAMILIES = ('ppc_seam', 'ppc_eps', 'ppc_fbr', 'ppc_erecr')


def test_ppc(vector):
    if meta(vector)['variant'] == 'erecr':
        check_equivariance(vector)
    else:
        check_contrast(vector)


def check_contrast(vector):
    settings = meta(vector)
    last, fbr = settings['bg_index'], settings['variant'] == 'fbr'
    feats = [tensor(vector[f'f_proj{v}']).requires_grad_() for v in (1, 2)]
    size = feats[1].shape[2:]
    small = [resized(x, size) for x in feats]
    maps = [
        resized(tensor(classes(vector[f'cam{v}'], last)), size)[:, 1:]
        for v in (1, 2)
    ]
    labels = tensor(vector['label'])
    num_classes = labels.shape[1]
    regularizer = PixelPrototypeContrast(
        1,
        num_classes,
        background_score=settings['bg_score'],
        area_divisor=size[0] * size[1] // settings['k'],
        foreground_only=fbr,
        temperature=settings['temperature'],
        cross_weight=settings['gamma'],
        intra_weight=0 if fbr else settings['gamma'])
    indices = torch.stack([
        torch.from_numpy(classes(vector[f'top_indices{v}'], last, 0)).long()
        for v in (1, 2)
    ])
    small, maps = torch.stack(small), torch.stack(maps)
    targets, prototypes = regularizer.targets(small, maps, labels, indices)
    # Without the recorded choice: the rows where nothing ties.
    free = regularizer.targets(small, maps, labels)[1]
    for i, v in enumerate(('1', '2')):
        _, scores, found = scores_from_maps(maps[i], labels,
                                            settings['bg_score'])
        assert found.tolist() == targets[i].tolist()
        scores = keep_assigned(scores, found) if fbr else scores
        assert_close(
            scores,
            tensor(classes(vector[f'scores{v}'], last)),
            rtol=0,
            atol=1e-4)
        expected = ids(vector[f'pseudo_label{v}'], last)
        assert (found == expected).float().mean() >= 0.995
        check(prototypes[i], classes(vector[f'prototypes{v}'], last, 0))
        rows = scores.transpose(0, 1).flatten(1)
        values = rows.topk(settings['k'] + 1, dim=1)[0]
        clear = values[:, -2] > values[:, -1].clamp(min=1e-3) + 1e-5
        check(free[i][clear],
              classes(vector[f'prototypes{v}'], last, 0)[clear.numpy()])

    cosines = cosines_of(small, prototypes)
    # Labels of the first view for prototypes of the second, and the reverse.
    values = prototype_contrast(
        cosines, targets.flatten(1).flip(0), foreground_only=fbr)
    for name, value in (('nce1', values[0, 1]), ('nce2', values[1, 0]),
                        ('cross_nce2_1', values[0, 0]),
                        ('cross_nce2_2', values[1, 1])):
        check(value, vector[f'part_loss_{name}'])
    picks = None
    if not fbr:
        picks = [[halves(vector, v, c, last) for c in range(num_classes + 1)]
                 for v in (1, 2)]
        for i in (0, 1):
            own = cosines[i:i + 1, :, i].unflatten(1, (len(labels), -1))
            check(
                intra_view_contrast(
                    own, targets[i:i + 1].flatten(2), picks=picks[i:i + 1]),
                vector[f'intra_view{i + 1}'])
    losses = regularizer.terms(small, maps, labels, indices, picks)
    assert ('loss_intra_view' in losses) != fbr
    for name, value in losses.items():
        theirs = dict(
            loss_cross_prototype='cross_proto',
            loss_cross_label='cross_label',
            loss_intra_view='intra')[name]
        check(value, vector[f'loss_{theirs}'])
        grads = torch.autograd.grad(value, feats, retain_graph=True)
        for v, grad in enumerate(grads, 1):
            check(grad, vector[f'grad_{theirs}_f{v}'], rtol=1e-4)


def halves(vector, view, plane, last):
    """The recorded random half of one of our planes."""
    theirs = last if plane == 0 else plane - (plane <= last)
    name = f'random_pick_view{view}_class{theirs}'
    if name not in vector:  # One pixel or none.
        return torch.zeros(0, dtype=torch.int64)
    return torch.from_numpy(vector[name]).long()


def check_equivariance(vector):
    """The background's own map takes no part in SEAM's losses."""
    last = meta(vector)['bg_index']
    labels = tensor(vector['label'])
    maps = {
        name: tensor(classes(vector[name], last)).requires_grad_()
        for name in ('cam1', 'cam2', 'cam_rv1', 'cam_rv2')
    }
    views = [
        ViewOutput(
            maps[f'cam{v}'], labels,
            dict(
                cams=maps[f'cam{v}'][:, 1:], refined_cams=maps[f'cam_rv{v}']))
        for v in (1, 2)
    ]
    size = maps['cam2'].shape[2:]
    losses = EquivariantRegularization(rvmin_weight=0)(
        ViewPair(*views, transform=lambda x: resized(x, size)))
    for name in ('er', 'ecr'):
        check(losses[f'loss_{name}'], vector[f'ref_loss_{name}'])
    sum(losses.values()).backward()
    for name, x in maps.items():
        check(x.grad, classes(vector[f'ref_grad_{name}'], last))

    refined = maps['cam_rv1'].detach().requires_grad_()
    loss = adaptive_min_pooling_loss(refined[:, 1:] *
                                     labels[..., None, None])
    check(loss, vector['loss_rvmin1'])
    loss.backward()
    # Theirs are the masked maps, which is the same where there is a tag.
    found = F.pad(labels, (1, 0))[..., None, None] * refined.grad
    expected = tensor(classes(vector['grad_rvmin1_cam_rv1'], last))
    check(found, F.pad(labels, (1, 0))[..., None, None] * expected)
