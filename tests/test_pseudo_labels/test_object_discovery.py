"""Rules of FOUND, TokenCut and MaskCut against loops and small graphs."""
import numpy as np
import pytest
import torch

from mmwsss.pseudo_labels.object_discovery import (
    WEAK,
    BackgroundDiscovery,
    NormalizedCut,
    PatchTokens,
    cut_in_two,
    cut_objects,
    find_background,
    head_weights,
    pick_side,
)


def loop_background(row, keys, threshold, weigh):
    """FOUND's rule, a number at a time."""
    heads, count = row.shape
    total = sum(row[h, p] for h in range(heads) for p in range(count))
    shares = []
    for h in range(heads):
        more = sum(row[h, p] > total / (heads * count) for p in range(count))
        shares.append(more / count + 1e-10)
    weights = [
        np.log(sum(shares) / share) if weigh else 1. for share in shares
    ]
    seen = [
        sum(weights[h] * row[h, p] for h in range(heads))
        for p in range(count)
    ]
    seed = min(range(count), key=lambda p: seen[p])

    def cosine(p, q):
        product = lengths = other = 0.
        for h in range(heads):
            for a, b in zip(weights[h] * keys[h, p], weights[h] * keys[h, q]):
                product += a * b
                lengths += a * a
                other += b * b
        return product / np.sqrt(lengths * other)

    return np.array([cosine(seed, p) > threshold for p in range(count)])


@pytest.mark.parametrize('weigh', [True, False])
@pytest.mark.parametrize('threshold', [0., .1, .3])
def test_background(weigh, threshold):
    rng = np.random.default_rng(2)
    for heads, count, size in ((3, 12, 4), (2, 7, 1)):
        row = rng.random((heads, count))**4  # Heads look at little.
        row[0] *= 3
        keys = rng.normal(size=(heads, count, size))
        keys += 2 * rng.normal(size=(heads, 1, size)) * (
            np.arange(count) % 2)[:, None]
        expected = loop_background(row, keys, threshold, weigh)
        found = find_background(row, keys, threshold, weigh)
        assert 0 < expected.sum() < count
        assert np.array_equal(found, expected)


def test_background_by_hand():
    # The second head looks at one patch of four, so it counts more; the
    # first head alone would take the last patch for the seed.
    row = np.array([[.3, .3, .3, .1], [.05, .05, .0, .9]])
    mean = row.mean()
    assert ((row > mean).mean(axis=1) == [.75, .25]).all()
    np.testing.assert_allclose(
        head_weights(row), [np.log(4 / 3), np.log(4)], rtol=1e-8)
    keys = np.zeros((2, 4, 2))
    keys[1] = [[1, .1], [1, 0], [1, 0], [0, 1]]
    keys[0] = [[0, 0], [9, 0], [0, 0], [0, 0]]
    # Of the second patch the first head says something else, which counts
    # less.
    assert find_background(row, keys).tolist() == [True, True, True, False]
    assert find_background(row, keys, weigh_heads=False).tolist() == [
        True, False, True, False]
    # A single head is not switched off.
    assert head_weights(row[:1]).tolist() == [1]
    assert find_background(row[1:], keys[1:]).tolist() == [
        True, True, True, False]
    # The seed is background, whatever its key.
    assert find_background(row, np.zeros((2, 4, 2))).tolist() == [
        False, False, True, False]


def plain_cut(features, threshold):
    """The generalised problem as written, with numpy's general solver."""
    count = len(features)
    weights = np.empty((count, count))
    for p in range(count):
        for q in range(count):
            a, b = features[p], features[q]
            lengths = np.sqrt((a @ a) * (b @ b))
            alike = lengths > 0 and a @ b / lengths > threshold
            weights[p, q] = 1 if alike else WEAK
    degrees = np.diag(weights.sum(axis=1))
    values, vectors = np.linalg.eig(
        np.linalg.solve(degrees, degrees - weights))
    return vectors[:, np.argsort(values.real)[1]].real


def up_to_sign(vector):
    vector = vector / np.abs(vector).max()
    return vector * np.sign(vector[np.abs(vector).argmax()])


def test_cut_solves_the_problem():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(14, 3))
    features[:5] += (4, 0, 0)
    features[5:] += (0, 2, 0)
    for threshold in (.2, .5):
        expected = up_to_sign(plain_cut(features, threshold))
        found = up_to_sign(cut_in_two(features, threshold))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    # A blanked patch is like nothing, nor like itself.
    features[3] = 0
    np.testing.assert_allclose(
        up_to_sign(cut_in_two(features, .2)),
        up_to_sign(plain_cut(features, .2)), atol=1e-6)


def test_known_cut():
    """Two cliques that a single edge joins are cut at that edge."""
    # Cosines of 1 within each, .6 between the two that lean over.
    lean = np.sqrt(.2)
    features = np.array([[1, 0], [1, 0], [1, 0], [1 - .2, lean]] +
                        [[lean, 1 - .2]] + [[0, 1]] * 5)
    vector = cut_in_two(features, .7)
    sides = vector > vector.mean()
    assert sides.tolist() in ([True] * 4 + [False] * 6,
                              [False] * 4 + [True] * 6)


def test_nothing_to_cut():
    assert cut_in_two(np.ones((9, 3)), .2) is None
    assert cut_in_two(np.ones((1, 3)), .2) is None
    assert cut_in_two(np.zeros((9, 3)), .2) is None
    # No patch is like another.
    assert cut_in_two(np.eye(9), .2) is None
    assert cut_in_two(np.eye(9) + .01, .2) is None
    assert cut_in_two(np.eye(2), .2) is None
    assert cut_objects(np.ones((9, 3)), (3, 3)).shape == (0, 3, 3)
    assert cut_objects(np.ones((1, 3)), (1, 1)).shape == (0, 1, 1)


@pytest.mark.parametrize('sign', [1, -1])
def test_side(sign):
    vector = np.full((4, 5), -.1)
    vector[1:3, 1:3] = .9
    vector[0, 4] = .8  # Alike, but not connected.
    expected = np.zeros((4, 5), bool)
    expected[1:3, 1:3] = True
    for check in (False, True):
        found = pick_side(sign * vector.ravel(), (4, 5), check)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize('sign', [1, -1])
def test_corners_are_background(sign):
    """The side of the largest entry holds all corners: change sides."""
    vector = np.full((4, 5), .5)
    vector[0, 0] = .6
    vector[1:3, 1:3] = -.2
    vector[2, 2] = -.3
    vector[1, 4] = -.25  # Of that side, but not connected with its seed.
    frame = vector > vector.mean()
    inner = np.zeros((4, 5), bool)
    inner[1:3, 1:3] = True
    flat = sign * vector.ravel()
    assert np.array_equal(pick_side(flat, (4, 5), False), frame)
    assert np.array_equal(pick_side(flat, (4, 5), True), inner)
    # Two corners are no reason.
    vector[-1] = -.1
    found = pick_side(sign * vector.ravel(), (4, 5), True)
    assert found[0].all() and not found[-1].any()


def scene():
    """Background and two objects as directions of features, (6, 8)."""
    features = np.zeros((6, 8, 4))
    features[..., 0] = 1
    features[1:4, 1:4] = (0, 1, 0, 0)
    features[2:5, 5:7] = (0, 0, 1, 0)
    # They are more alike than either is to the background.
    features[..., 3] = np.where(features[..., 0] > 0, 0, .7)
    return features


def test_objects_one_by_one():
    features = scene().reshape(48, -1)
    first = np.zeros((6, 8), bool)
    first[1:4, 1:4] = True
    second = np.zeros((6, 8), bool)
    second[2:5, 5:7] = True
    one = cut_objects(features, (6, 8), .5)
    assert len(one) == 1
    found = cut_objects(features, (6, 8), .5, 3, True)
    assert len(found) >= 2
    for mask in (first, second):
        assert any(np.array_equal(mask, m) for m in found)
    assert found.sum(axis=0).max() == 1
    assert (features != 0).any(axis=1).all(), 'the input was changed'


def test_ends_where_nothing_new_comes(monkeypatch):
    from mmwsss.pseudo_labels import object_discovery
    masks = [np.zeros((20, 20), bool) for _ in range(4)]
    masks[0][:5, :5] = True  # 25
    masks[1][2:8, :5] = True  # overlaps 15 of 40
    masks[2][2:9, :5] = True  # 30 of 35: no other object
    masks[3][10:, 10:] = True
    sides = iter(masks)
    monkeypatch.setattr(object_discovery, 'pick_side',
                        lambda *args: next(sides))
    features = np.random.default_rng(0).normal(size=(400, 3))
    found = cut_objects(features, (20, 20), .2, 4)
    assert np.array_equal(found, [masks[0], masks[1] & ~masks[0]])
    # As few patches are no object either; the first mask is what it is.
    for size, count in ((4, 1), (5, 2)):
        tiny = [np.zeros((20, 20), bool) for _ in range(2)]
        tiny[0][10, :4] = True
        tiny[1][0, :size] = True
        sides = iter(tiny)
        assert len(cut_objects(features, (20, 20), .2, 2)) == count


def tokens(dtype=torch.float32, class_row=True):
    keys = torch.from_numpy(scene()).to(dtype)
    keys = torch.stack((keys[..., :2], keys[..., 2:]))
    row = keys.norm(dim=-1) * torch.tensor([.5, 1.], dtype=dtype).view(2, 1, 1)
    row[:, 0, 0] = 0
    return PatchTokens(keys, row if class_row else None)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_finders(dtype):
    found = BackgroundDiscovery(threshold=.2)(tokens(dtype))
    assert np.array_equal(found[0], scene()[..., 0] == 0)
    cut = NormalizedCut(.5, 3, True)(tokens(dtype, class_row=False))
    assert np.array_equal(
        cut, cut_objects(scene().reshape(48, -1), (6, 8), .5, 3, True))
    assert found.dtype == cut.dtype == bool


def test_finders_refuse():
    with pytest.raises(ValueError, match='class token.*NormalizedCut'):
        BackgroundDiscovery()(tokens(class_row=False))
    with pytest.raises(ValueError, match='num_objects of 1 or more, got 0'):
        NormalizedCut(num_objects=0)
    same = PatchTokens(torch.ones(2, 3, 4, 5), torch.ones(2, 3, 4))
    assert BackgroundDiscovery()(same).shape == (0, 3, 4)
    assert NormalizedCut()(same).shape == (0, 3, 4)
