"""Variants of a network in less precision: what is in the files, and what they still say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from adverse_perception.inference import (  # noqa: E402
    ROLE_OUTPUTS,
    Engine,
    load_engine,
    read_engine,
    read_metadata,
    tensorrt_building,
    variant_path,
    write_metadata,
)
from adverse_perception.inference.tensorrt_module import find_library  # noqa: E402
from tests.conftest import write_correction_engine  # noqa: E402
from tests.packs import road  # noqa: E402
from tests.toys import TOY, TOY_WEATHER, moved, write_data  # noqa: E402
from training import precision  # noqa: E402
from training.datasets import open_pack  # noqa: E402
from training.fewer_bits import (  # noqa: E402
    EXACT_CONVOLUTIONS,
    calibration_frames,
    write_fp16,
    write_int8,
    write_rounded,
)
from training.network_engine import describe_engine  # noqa: E402
from training.onnx_graph import write_onnx  # noqa: E402
from training.recipes import Recipe  # noqa: E402

TOY_JOINT = replace(TOY, name="joint", role="joint", conditions=("rain", "fog"))
RECIPES = {recipe.name: recipe for recipe in (TOY, TOY_JOINT, TOY_WEATHER)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data")) / "camvid"


def written(recipe: Recipe, folder: Path) -> Path:
    """An engine of random weights, in fp32."""
    torch.manual_seed(0)
    path = folder / f"{recipe.name}.onnx"
    write_onnx(recipe, moved(recipe.network()), path)
    write_metadata(path, describe_engine(recipe))
    return path


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A folder of engines with their variants, not scored."""
    folder = tmp_path_factory.mktemp("engines")
    for recipe in RECIPES.values():
        path = written(recipe, folder)
        for name, make in (("fp16", write_fp16), ("int8", write_int8)):
            place = variant_path(path, name)
            place.parent.mkdir(exist_ok=True)
            make(path, place, data)
            write_metadata(place, replace(read_metadata(path), precision=name))
    return folder


def convolutions(path: Path) -> dict[str, str]:
    """Type of the weights of every convolution by its name."""
    graph = onnx.load(str(path)).graph
    constants = {n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant"}
    constants |= {one.name: one for one in graph.initializer}
    types = {k: onnx.TensorProto.DataType.Name(one.data_type) for k, one in constants.items()}
    source = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    return {
        node.name: types.get(node.input[1]) or types[source[node.input[1]]]
        for node in graph.node
        if node.op_type == "Conv"
    }


def signature(path: Path) -> list[tuple[str, int, int, str]]:
    """Name, type, number of axes and first axis of what goes in and comes out."""
    graph = onnx.load(str(path)).graph
    tensors = [(one.name, one.type.tensor_type) for one in (*graph.input, *graph.output)]
    return [
        (name, tensor.elem_type, len(tensor.shape.dim), tensor.shape.dim[0].dim_param)
        for name, tensor in tensors
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_what_goes_in_and_comes_out_stays(engines: Path, name: str) -> None:
    path = engines / f"{name}.onnx"
    for variant in ("fp16", "int8"):
        assert signature(variant_path(path, variant)) == signature(path)
    assert {axis for *_, axis in signature(path)} == {"batch"}


@pytest.mark.parametrize("name", RECIPES)
def test_weights_take_half_the_space_or_a_quarter(engines: Path, name: str) -> None:
    path = engines / f"{name}.onnx"
    whole = list(convolutions(path))
    assert set(convolutions(variant_path(path, "fp16")).values()) == {"FLOAT16"}
    coarse = convolutions(variant_path(path, "int8"))
    assert {coarse[one] for one in whole[:EXACT_CONVOLUTIONS]} == {"FLOAT"}
    kept = {one for one, kind in coarse.items() if kind == "FLOAT"} - {*whole[:EXACT_CONVOLUTIONS]}
    assert all("restorer" in one for one in kept)
    assert bool(kept) == (name == "joint")
    assert Counter(coarse.values())["INT8"] >= len(whole) // 2


def say(engine: Engine) -> dict[str, np.ndarray]:
    image, _ = road(np.random.default_rng(3))
    return dict(engine.run(image))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("variant", "share"), [("fp16", 0.01), ("int8", 0.15)])
def test_answers_stay_nearly_the_same(
    engines: Path, name: str, variant: str, share: float
) -> None:
    path = engines / f"{name}.onnx"
    expected, found = say(load_engine(path)), say(load_engine(variant_path(path, variant)))
    assert list(expected) == list(found)
    for output, array in expected.items():
        assert (found[output].dtype, found[output].shape) == (array.dtype, array.shape)
        difference = found[output].astype(np.float64) - array
        assert np.abs(difference).mean() <= share * (np.abs(array).mean() + array.std())
        assert output == "restored" or difference.any()


@pytest.mark.parametrize("name", RECIPES)
def test_fp16_is_scored_with_every_activation_rounded(
    engines: Path, name: str, tmp_path: Path
) -> None:
    path = engines / f"{name}.onnx"
    write_rounded(path, tmp_path / "rounded.onnx")
    write_metadata(tmp_path / "rounded.onnx", read_metadata(path))
    first = ROLE_OUTPUTS[read_metadata(path).role][0]
    exact, variant, rounded = (
        say(load_engine(one))[first]
        for one in (path, variant_path(path, "fp16"), tmp_path / "rounded.onnx")
    )
    assert (rounded == rounded.astype(np.float16)).all()
    assert (exact != exact.astype(np.float16)).any()
    np.testing.assert_allclose(rounded, variant, atol=0.01 * np.abs(exact).max())


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("variant", ["fp16", "int8"])
def test_tensorrt_reads_and_builds_them(engines: Path, name: str, variant: str) -> None:
    pytest.importorskip("tensorrt_rtx")
    file = read_engine(variant_path(engines / f"{name}.onnx", variant))
    outputs = ROLE_OUTPUTS[file.metadata.role]
    sizes = tensorrt_building.picture_sizes(file.metadata, 3)
    assert tensorrt_building.build(find_library("tensorrt_rtx"), file, outputs, sizes)


def test_calibration_sees_the_training_split_in_the_engines_weathers(data: Path) -> None:
    pack, metadata = open_pack(data, "train"), describe_engine(TOY_JOINT)
    frames = list(calibration_frames(metadata, pack))
    assert len(frames) == len(pack.pairs)  # it has fewer than are wanted
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    again = list(calibration_frames(metadata, pack))
    assert all((one == other).all() for one, other in zip(frames, again, strict=True))
    clear = calibration_frames(describe_engine(TOY), pack)
    assert all((one != other).any() for one, other in zip(frames, clear, strict=True))
    assert len(list(calibration_frames(metadata, pack, 2))) == 2


def test_the_command_scores_the_variants_beside_the_engine(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(TOY, tmp_path)
    assert precision.main([str(path), "--data", str(data)]) == 0
    lines = capsys.readouterr().out.splitlines()
    itself = read_metadata(path)
    for variant, line in zip(("fp16", "int8"), lines, strict=True):
        told = read_metadata(variant_path(path, variant))
        assert (told.name, told.precision) == (itself.name, variant)
        assert told.made_from == itself.weights_sha256
        assert (
            told.scores.keys() == told.reference_scores.keys() == {"clear", "rain", "fog", "night"}
        )
        assert abs(told.loss) < 0.1
        assert str(variant_path(path, variant)) in line
        assert "points below fp32" in line
        assert {"onnxruntime"} <= told.exported_with.keys()
        assert list(variant_path(path, variant).parent.iterdir()) == [variant_path(path, variant)]
    assert "6 frames of camvid train" in told.exported_with["calibration"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: write_correction_engine(folder / "correction.onnx"),
         "engine correction of role correction: expected precisions of fp16, found int8"),
        (lambda folder: variant_path(folder / "toy.onnx", "fp16"),
         "engine toy (fp16) of role segmentation: expected precisions of none, found int8"),
        (lambda folder: folder / "missing.onnx", "expected an engine file, found"),
    ],
    ids=["correction", "variant", "missing"],
)  # fmt: skip
def test_what_cannot_be_made_ends_the_command_with_one_line(
    engines: Path, data: Path, make, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(engines)
    assert precision.main([str(path), "--precisions", "int8", "--data", str(data)]) == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("training.precision: ")
    assert said in told
    assert "\n" not in told
