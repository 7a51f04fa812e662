from mmwsss.utils.scalars import read_scalars


def test_lines_of_all_files_in_order(tmp_path):
    first, second = tmp_path / 'b.json', tmp_path / 'a.json'
    first.write_text('{"loss": 1.5, "step": 1}\n{"mIoU": NaN, "step": 2}\n'
                     '{"loss": 0.5, "st')
    second.write_text('{"loss": 2.0, "step": 1}\n')
    found = read_scalars([first, second])
    assert [x['step'] for x in found] == [1, 2, 1]
    assert found[0]['loss'] == 1.5 and found[2]['loss'] == 2
    assert found[1]['mIoU'] != found[1]['mIoU']
    assert read_scalars([]) == []
