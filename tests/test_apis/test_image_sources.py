"""What counts as an image, and what it is called."""
import cv2
import numpy as np
import pytest

from mmwsss.apis.image_sources import (
    Source,
    Video,
    find_images,
    refuse_double_names,
)


def picture(seed=0, size=(20, 30)):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*size, 3), dtype=np.uint8)


def write_video(path, frames):
    """Frames as motion JPEG, which every OpenCV can write and read."""
    size = frames[0].shape[1::-1]
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'MJPG'), 5, size)
    if not writer.isOpened():
        pytest.skip('this OpenCV writes no videos')
    for frame in frames:
        writer.write(frame)
    writer.release()


def test_folders_and_files(tmp_path):
    for name in ('b.jpg', 'a/c.PNG', 'a/x.y.jpeg', '.hidden.jpg', 'n.txt'):
        path = tmp_path / 'in' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')
    (tmp_path / 'single.webp').write_bytes(b'x')
    found = find_images([str(tmp_path / 'in'), tmp_path / 'single.webp'])
    assert [s.img_id for s in found] == ['a/c', 'a/x.y', 'b', 'single']
    assert found[0].path == str(tmp_path / 'in' / 'a' / 'c.PNG')
    assert found[0].read is None
    with pytest.raises(FileNotFoundError, match='no image.*nowhere.jpg'):
        find_images(tmp_path / 'nowhere.jpg')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match=r'empty holds no images .*\.webp'):
        find_images(str(tmp_path / 'empty'))
    with pytest.raises(ValueError, match='no images to look at'):
        find_images([])


def test_arrays():
    images = [picture(i) for i in range(2)]
    found = find_images(images)
    assert [s.img_id for s in found] == ['000000', '000001']
    assert all(s.path is None for s in found)
    assert np.array_equal(found[1].read(), images[1])
    # A view with negative strides, as image[..., ::-1] gives it.
    assert find_images(images[0][..., ::-1])[0].read().flags['C_CONTIGUOUS']
    for bad in (picture().astype(np.float32), picture()[..., 0],
                np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match='Image 000001 is .*BGR'):
            find_images([images[0], bad])


def test_videos(tmp_path):
    # Motion JPEG loses little of plain colours.
    frames = [np.full((16, 32, 3), 40 * i, np.uint8) for i in range(6)]
    path = tmp_path / 'clip.avi'
    write_video(path, frames)
    found = find_images(path, frame_step=2)
    assert [s.img_id
            for s in found] == ['clip/000000', 'clip/000002', 'clip/000004']
    for source, index in zip(found, (0, 2, 4)):
        error = source.read().astype(int) - frames[index]
        assert np.abs(error).max() < 8
    # Backwards as well.
    video = Video(path)
    assert len(video) == 6
    for index in (5, 1, 1, 3):
        assert abs(int(video.read(index).mean()) - 40 * index) < 8
    with pytest.raises(ValueError, match='clip.avi: frame 6 is damaged'):
        video.read(6)
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    with pytest.raises(ValueError, match='bad.mp4 is no video'):
        find_images(tmp_path / 'bad.mp4')


def test_what_is_not_read_is_named(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr('mmwsss.apis.image_sources.print_log',
                        lambda text, *args, **kwargs: said.append(text))
    for name in ('a.jpg', 'b.dcm', 'c.CR2', 'd.CR2', 'notes.txt'):
        (tmp_path / name).write_bytes(b'x')
    assert [s.img_id for s in find_images(tmp_path)] == ['a']
    text, = said
    assert '2 .cr2 (c.CR2, d.CR2: a camera' in text
    assert '1 .dcm (b.dcm: DICOM' in text and 'notes' not in text
    (tmp_path / 'a.jpg').unlink()
    with pytest.raises(ValueError, match=r'no images .* There are 2 \.cr2'):
        find_images(tmp_path)


def test_two_images_of_one_name():
    sources = [Source('x', 'a/x.jpg'), Source('y'), Source('x', 'b/x.png')]
    with pytest.raises(
            ValueError, match="2 images have the name 'x': a/x.jpg, b/x.png"):
        refuse_double_names(sources)
    refuse_double_names(sources[1:])
