import pytest
import torch

from mmwsss.models.utils.feature_bank import FeatureBank


def numbered(start, stop):
    return torch.arange(start, stop).float()[:, None].expand(-1, 3)


@pytest.mark.parametrize('sizes', [
    (2, 1), (4, 3), (7, ), (7, 7), (3, 3, 3, 3, 3), (20, ), (5, 20, 2),
    (0, 4, 0), (7, 0, 1), (14, 1)])
def test_the_last_in_their_order(sizes):
    bank, total = FeatureBank(7, 3), 0
    for size in sizes:
        bank.enqueue(numbered(total, total + size))
        total += size
        assert len(bank) == min(total, 7)
        assert bank.pointer == total % 7
        assert torch.equal(bank.ordered(),
                           numbered(max(total - 7, 0), total))
        # What has been written once stays in its slot.
        for slot in range(len(bank)):
            assert int(bank.rows[slot, 0]) % 7 == slot


def test_rows_are_copied_float32_without_gradient():
    bank = FeatureBank(4, 2)
    rows = torch.ones(2, 2, dtype=torch.float16, requires_grad=True)
    bank.enqueue(rows)
    with torch.no_grad():
        rows.zero_()
    assert bank.rows.dtype == torch.float32
    assert not bank.rows.requires_grad
    assert bank.ordered().tolist() == [[1, 1], [1, 1]]


def test_draws_among_what_is_there():
    bank = FeatureBank(5, 3)
    with pytest.raises(ValueError, match='empty'):
        bank.draw((2, 2))
    bank.enqueue(numbered(0, 3))
    drawn = bank.draw((30, 10), torch.Generator().manual_seed(0))
    assert drawn.shape == (30, 10)
    counts = torch.bincount(drawn.flatten(), minlength=5).tolist()
    assert counts[3:] == [0, 0] and min(counts[:3]) > 70
    assert torch.equal(
        drawn, bank.draw((30, 10), torch.Generator().manual_seed(0)))
    bank.enqueue(numbered(3, 9))
    assert len(bank.draw((300, )).unique()) == 5


def test_a_checkpoint_continues():
    bank, other = FeatureBank(5, 3), FeatureBank(5, 3)
    bank.enqueue(numbered(0, 7))
    other.load_state_dict(bank.state_dict())
    for each in (bank, other):
        each.enqueue(numbered(7, 9))
    assert torch.equal(other.ordered(), numbered(4, 9))
    assert torch.equal(other.rows, bank.rows)


def test_refuses_no_capacity():
    with pytest.raises(ValueError, match='at least 1, got 0'):
        FeatureBank(0, 3)
