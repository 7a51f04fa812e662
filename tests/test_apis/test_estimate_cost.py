import json
import runpy
import sys

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from mmwsss.apis.estimate_cost import (
    IMAGES,
    ROUTES,
    STAGES,
    PeakMemory,
    Stage,
    cost_table,
    devices_of_use,
    estimate_cost,
    gpus_that_fit,
    in_words,
    peak_bytes,
    read_stages,
    speed_up,
    stage_hours,
    write_stages,
)
from tests.toy import ROOT

TOOL = ROOT / 'tools' / 'analysis_tools' / 'estimate_cost.py'


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_speed_up():
    assert speed_up(1, 0.3) == 1
    assert speed_up(64) == 64
    assert speed_up(5, 0.5) == 3


@pytest.mark.parametrize('devices,batch_size,used', [
    (1, 10, 1), (4, 10, 2), (5, 10, 5), (8, 10, 5), (64, 10, 10), (64, 1, 1),
    (8, 32, 8), (33, 32, 32)])
def test_devices_share_a_step_equally(devices, batch_size, used):
    assert devices_of_use(devices, batch_size) == used


def test_lengths_are_those_of_the_configs():
    # 26,450 steps of one image, 8 epochs, 3 epochs, 20,000 steps of ten.
    assert STAGES['classify'].length('voc') == (26450 / 10582, 1)
    assert STAGES['classify'].length('coco') == (102600 / 82081, 1)
    assert STAGES['affinity'].length('voc') == (8, 8)
    # No config for COCO: as often as on VOC.
    assert STAGES['affinity'].length('coco') == (8, 8)
    assert STAGES['irn'].length('voc') == (3, 32)
    assert STAGES['segment'].length('voc') == (200000 / 10582, 10)
    assert STAGES['segment'].length('coco') == (1000000 / 82081, 10)
    assert STAGES['cams'].length('voc') == (1, None)


def test_hours_by_hand():
    files = Stage(3.6)
    assert stage_hours(files, 'voc', 1) == pytest.approx(10.582)
    # Nobody waits for anybody.
    assert stage_hours(files, 'voc', 8, 0.5) == pytest.approx(10.582 / 8)
    training = Stage(3.6, passes=5, batch_size=16)
    assert stage_hours(training, 'coco', 1) == pytest.approx(5 * 82.081)
    assert stage_hours(training, 'coco', 64, 0.8) == pytest.approx(
        5 * 82.081 / (1 + 15 * 0.8))
    crf = Stage(3.6, runs_on='cores')
    assert stage_hours(crf, 'voc', 2, cores=6) == pytest.approx(10.582 / 12)
    test = Stage(36, images='val')
    assert stage_hours(test, 'coco', 1) == pytest.approx(401.37)
    assert stage_hours(
        test, 'coco', 1, num_images=dict(val=200)) == pytest.approx(2)


def test_totals_are_those_of_a_route():
    rows = cost_table(STAGES, 'voc', [1])
    assert [row[0] for row in rows[-2:]] == [
        f'**all, by way of {name}**' for name in ROUTES.values()
    ]
    shared = sum(
        stage_hours(s, 'voc', 1) for s in STAGES.values() if s.route is None)
    for row, route in zip(rows[-2:], ROUTES):
        own = sum(
            stage_hours(s, 'voc', 1) for s in STAGES.values()
            if s.route == route)
        assert row[1] == in_words(shared + own)
    # Without either route there is one total.
    rows = cost_table(dict(a=Stage(1.), b=Stage(2.)), 'voc', [1, 2])
    assert rows[-1] == ['**all**', in_words(3 * 10582 / 3600),
                        in_words(1.5 * 10582 / 3600)]


@pytest.mark.parametrize('hours,words', [
    (1127.4, '1,127 h'), (9.96, '10 h'), (2.34, '2.3 h'), (0.996, '1.0 h'),
    (0.5, '30 min'), (0.001, '< 1 min')])
def test_in_words(hours, words):
    assert in_words(hours) == words


def test_seconds_of_another_device(tmp_path):
    path = tmp_path / 'gpu.json'
    write_stages(path, 'my GPU', dict(segment=0.5, crf=0.25))
    device, stages = read_stages(path)
    assert device == 'my GPU' and list(stages) == ['segment', 'crf']
    assert stages['segment'].seconds == 0.5
    assert stages['segment'].length('voc') == STAGES['segment'].length('voc')
    assert stages['crf'].runs_on == 'cores'
    path.write_text(json.dumps(dict(stages=dict(
        mine=dict(seconds=2, passes=3, batch_size=4), classify=1))))
    device, stages = read_stages(path)
    assert stages['mine'].title == 'mine'
    assert stages['mine'].length('coco') == (3, 4)


@pytest.mark.parametrize('content,message', [
    ('{', 'is no JSON'),
    ('[]', 'names no stages'),
    ('{"stages": {}}', 'names no stages'),
    ('{"stages": {"a": {"passes": 2}}}', "stage 'a' lacks \"seconds\""),
    ('{"stages": {"a": {"second": 2}}}', r"has \['second'\]"),
    ('{"stages": {"a": -1}}', "stage 'a': seconds must be a number above 0"),
    ('{"stages": {"a": "1"}}', 'seconds must be a number'),
    ('{"stages": {"a": {"seconds": 1, "runs_on": "moon"}}}', 'runs_on must'),
])
def test_wrong_files_are_explained(tmp_path, content, message):
    path = tmp_path / 'seconds.json'
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_stages(path)


def call(*arguments):
    parse = runpy.run_path(str(TOOL))['parse_args']
    return estimate_cost(**vars(parse(list(arguments))))


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
    runpy.run_path(str(TOOL), run_name='__main__')


def test_tool(capsys, monkeypatch):
    arguments = '--devices', '1', '2', '--efficiency', '0.9'
    rows = call(*arguments).rows
    run_tool(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert '10,582 training and 1,449 val images' in printed
    assert 'one core of an Intel Xeon' in printed and 'ideal' not in printed
    assert '0.9 devices' in printed and 'segment 10' in printed
    for row in rows:
        assert '| ' + ' | '.join(row) + ' |' in printed
    run_tool(monkeypatch, '--images', '500', '--val-images', '20')
    assert '500 training and 20 val' in capsys.readouterr().out


@pytest.mark.parametrize('arguments,message', [
    (['--efficiency', '1.1'], r'must lie in \(0, 1\]'),
    (['--devices', '0'], 'at least 1 device'),
    (['--cores-per-device', '0'], 'must be at least 1'),
    (['--seconds', 'nowhere.json'], 'bench_stages.py --out nowhere.json'),
])
def test_wrong_arguments_are_explained(arguments, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call(*arguments)


def tables(text):
    """Cells of the tables of a page."""
    return [[cell.strip() for cell in line.strip('|').split('|')]
            for line in text.splitlines() if line.startswith('| ')]


@pytest.mark.parametrize('dataset', list(IMAGES))
def test_guide_has_the_tables_that_the_tool_prints(dataset):
    shown = tables((ROOT / 'docs' / 'cost.md').read_text(encoding='utf-8'))
    for row in cost_table(STAGES, dataset, [1, 2, 4, 8, 16, 32, 64]):
        assert row in shown


def test_seconds_are_those_of_the_benchmark():
    text = (ROOT / 'benchmarks' / 'README.md').read_text(encoding='utf-8')
    shown = {row[0].split(':')[0].removeprefix('or '): row
             for row in tables(text) if len(row) == 5}
    for name, stage in STAGES.items():
        assert float(shown[name][1]) == stage.seconds
        for column, dataset in ((3, 'voc'), (4, 'coco')):
            hours = stage_hours(stage, dataset, 1)
            assert shown[name][column] == f'{hours:,.1f}'


class Chain(torch.nn.Module):
    """Eight layers on 100 numbers each, with ReLUs between them."""

    def __init__(self, with_cp=False):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Linear(100, 100, bias=False) for _ in range(8))
        self.with_cp = with_cp

    def pair(self, x, i):
        return self.layers[i + 1](self.layers[i](x).relu()).relu()

    def forward(self, x):
        for i in range(0, 8, 2):
            if self.with_cp:
                x = checkpoint(self.pair, x, i, use_reentrant=False)
            else:
                x = self.pair(x, i)
        return x.sum()


WEIGHTS, ROWS = 8 * 100 * 100 * 4, 5000 * 100 * 4


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_memory_of_a_step_by_hand(device):
    model = Chain().to(device)
    x = torch.zeros(5000, 100, device=device)
    peak = peak_bytes(
        lambda: model(x).backward(), [*model.parameters(), x], device)
    # The input and what each ReLU gave are kept; behind the last one the
    # gradients before and behind a ReLU come to it, and then those of weights.
    least = WEIGHTS + 9 * ROWS
    assert least < peak <= least + 3 * ROWS + WEIGHTS
    with torch.no_grad():
        peak = peak_bytes(
            lambda: model(x), [*model.parameters(), x], device)
    # Nothing is kept but what goes into a layer and comes out.
    assert WEIGHTS + 2 * ROWS < peak <= WEIGHTS + 4 * ROWS


def test_checkpointing_takes_less_memory():
    x = torch.zeros(5000, 100, device='meta', requires_grad=True)
    whole, parts = (
        peak_bytes(lambda m=model: m(x).backward(), [*model.parameters(), x])
        for model in (Chain().to('meta'), Chain(with_cp=True).to('meta')))
    # Every second map is kept, and those of one pair when it comes to it.
    assert parts < 0.75 * whole


def test_what_the_host_reads_on_the_meta_device():
    x = torch.zeros(4, 6, device='meta')
    with PeakMemory():
        assert float(x.sum()) == 1 and bool((x > 0).any())
        assert x[0].tolist() == [4.] * 6
        assert (x > 0).nonzero().shape == (24, 2)
        assert x[x > 0].shape == (24, )
        assert x.cpu().device.type == 'cpu'
    with pytest.raises((NotImplementedError, RuntimeError)):
        x.tolist()


def test_gpus_that_fit_by_hand():
    gib = 2**30
    # 16 images of 1 GiB each and 2 GiB of weights.
    peaks = {n: (n + 2) * gib for n in (1, 2, 4, 8, 16)}
    assert gpus_that_fit(peaks, 16, 80) == 1
    assert gpus_that_fit(peaks, 16, 16) == 2
    assert gpus_that_fit(peaks, 16, 8) == 8
    assert gpus_that_fit(peaks, 16, 4) is None
