"""How the networks in this folder were made from the published ones.

    python make.py POSE_DETECTION.tflite POSE_LANDMARK_FULL.tflite \
        ARBITRARY_PREDICT.onnx ARBITRARY_TRANSFORM.onnx

BlazePose is put from LiteRT's format into ONNX, weights as they are (16 bit), so that one runtime
does for all. Magenta's networks are freed from the rounding of every activation to 8 bit, which
phones asked for, and from their fixed 384 × 384 px. Needs numpy, onnx and ai-edge-litert, which
the studio itself does without.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as lite
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
OPSET = 17
OPERATORS = {code: name for name, code in vars(lite.BuiltinOperator).items() if name.isupper()}


class Translation:
    """A LiteRT graph on its way into ONNX; pictures are [1, channels, height, width] inside."""

    def __init__(self, file: Path) -> None:
        model = lite.ModelT.InitFromObj(lite.Model.GetRootAs(file.read_bytes(), 0))
        self.graph = model.subgraphs[0]
        self.codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        # delegates would unpack the weights where nobody can read them
        self.values = Interpreter(
            str(file),
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        self.values.allocate_tensors()
        for one in self.values.get_input_details():
            self.values.set_tensor(one["index"], np.zeros(one["shape"], np.float32))
        self.values.invoke()
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}

    def constant(self, tensor: int) -> np.ndarray:
        return self.values.get_tensor(tensor)

    def weight(self, tensor: int, order: tuple[int, ...] | None = None) -> str:
        """The name of a 32 bit weight that is kept in 16."""
        name = f"w{tensor}"
        if name not in self.weights:
            array = self.constant(tensor)
            array = array if order is None else array.transpose(order)
            small = np.ascontiguousarray(array).astype(np.float16)
            self.weights[name] = numpy_helper.from_array(small, f"{name}_half")
            self.add("Cast", [f"{name}_half"], name, to=TensorProto.FLOAT)
        return name

    def plain(self, name: str, array: np.ndarray) -> str:
        self.weights.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def add(self, kind: str, inputs: list[str], output: str, **options: object) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **options))
        return output

    def activated(self, function: int, raw: str, output: str) -> None:
        if function == lite.ActivationFunctionType.RELU6:
            bounds = [self.plain("zero", np.float32(0)), self.plain("six", np.float32(6))]
            self.add("Clip", [raw, *bounds], output)
        elif function == lite.ActivationFunctionType.NONE:
            self.add("Identity", [raw], output)
        else:
            raise ValueError(f"activation {function}")

    def convolved(self, operator: lite.OperatorT, *, depthwise: bool) -> None:
        picture, kernel, bias = operator.inputs
        option, out = operator.builtinOptions, operator.outputs[0]
        shape = self.graph.tensors[kernel].shape
        strides = [option.strideH, option.strideW]
        same = option.padding == lite.Padding.SAME
        pads = [0, 0, 0, 0]
        if same:
            sides = self.graph.tensors[picture].shape[1:3]
            spare = [
                max((-(-side // step) - 1) * step + width - side, 0)
                for side, step, width in zip(sides, strides, shape[1:3], strict=True)
            ]
            pads = [
                spare[0] // 2,
                spare[1] // 2,
                spare[0] - spare[0] // 2,
                spare[1] - spare[1] // 2,
            ]
        raw = self.add(
            "Conv",
            [
                f"t{picture}",
                self.weight(kernel, (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)),
                self.weight(bias),
            ],
            f"t{out}_raw",
            strides=strides,
            pads=[int(pad) for pad in pads],
            group=int(shape[3]) if depthwise else 1,
        )
        self.activated(option.fusedActivationFunction, raw, f"t{out}")

    def translate(self, operator: lite.OperatorT) -> None:
        name = OPERATORS[self.codes[operator.opcodeIndex]]
        option, ins, out = operator.builtinOptions, operator.inputs, operator.outputs[0]
        match name:
            case "DEQUANTIZE" | "DENSIFY":
                pass
            case "CONV_2D":
                self.convolved(operator, depthwise=False)
            case "DEPTHWISE_CONV_2D":
                self.convolved(operator, depthwise=True)
            case "ADD":
                raw = self.add("Add", [f"t{ins[0]}", f"t{ins[1]}"], f"t{out}_raw")
                self.activated(option.fusedActivationFunction, raw, f"t{out}")
            case "PAD":
                around = self.constant(ins[1])[[0, 3, 1, 2]].T.reshape(-1).astype(np.int64)
                self.add("Pad", [f"t{ins[0]}", self.plain(f"pads{out}", around)], f"t{out}")
            case "RESIZE_BILINEAR":
                scale = self.graph.tensors[out].shape[1] / self.graph.tensors[ins[0]].shape[1]
                scales = self.plain(f"scales{out}", np.array([1, 1, scale, scale], np.float32))
                self.add("Resize", [f"t{ins[0]}", "", scales], f"t{out}", mode="linear")
            case "DEPTH_TO_SPACE":
                self.add("DepthToSpace", [f"t{ins[0]}"], f"t{out}", blocksize=option.blockSize)
            case "MAX_POOL_2D":
                sides, steps = [option.filterHeight] * 2, [option.strideH] * 2
                self.add("MaxPool", [f"t{ins[0]}"], f"t{out}", kernel_shape=sides, strides=steps)
            case "LOGISTIC":
                self.add("Sigmoid", [f"t{ins[0]}"], f"t{out}")
            case "RESHAPE":  # only at the end, out of pictures
                last = self.add("Transpose", [f"t{ins[0]}"], f"t{out}_last", perm=[0, 2, 3, 1])
                shape = np.array(self.graph.tensors[out].shape, np.int64)
                self.add("Reshape", [last, self.plain(f"shape{out}", shape)], f"t{out}")
            case "CONCATENATION":
                self.add("Concat", [f"t{one}" for one in ins], f"t{out}", axis=option.axis)
            case _:
                raise ValueError(name)

    def model(self, outputs: dict[str, int]) -> onnx.ModelProto:
        """`outputs` are the places in the graph's own list, by the name they get."""
        picture = self.graph.inputs[0]
        self.add("Transpose", ["picture"], f"t{picture}", perm=[0, 3, 1, 2])
        for operator in self.graph.operators:
            self.translate(operator)
        given = [helper.make_tensor_value_info("picture", TensorProto.FLOAT, self.shape(picture))]
        made: list[onnx.ValueInfoProto] = []
        for name, place in outputs.items():
            tensor = self.graph.outputs[place]
            self.add("Identity", [f"t{tensor}"], name)
            made.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape(tensor)))
        return _model(self.nodes, given, made, list(self.weights.values()))

    def shape(self, tensor: int) -> list[int]:
        return [int(side) for side in self.graph.tensors[tensor].shape]


def freed(file: Path, inputs: dict[str, list], output: str, out_shape: list) -> onnx.ModelProto:
    """Without what rounds activations to 8 bit; `inputs` and output with other names and shapes.

    Weights stay as they are: int8 and a factor.
    """
    graph = onnx.load(file).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    same: dict[str, str] = dict(zip((one.name for one in graph.input), inputs, strict=True))
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        rounding = node.op_type in {"QuantizeLinear", "DequantizeLinear"}
        if rounding and node.input[0] not in stored:
            same[node.output[0]] = same.get(node.input[0], node.input[0])
            continue
        node.input[:] = [same.get(name, name) for name in node.input]
        kept.append(node)
    last = same.get(graph.output[0].name, graph.output[0].name)
    kept.append(helper.make_node("Identity", [last], [output]))
    used = _used(kept, output)
    names = {name for node in used for name in node.input}
    return _model(
        used,
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, out_shape)],
        [tensor for tensor in graph.initializer if tensor.name in names],
        opset=15,
    )


def _used(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto],
    opset: int = OPSET,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "pochade", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def made(detection: Path, landmark: Path, predict: Path, transform: Path) -> Iterator[tuple]:
    yield (
        "blazepose/detection.onnx",
        Translation(detection).model({"boxes": 0, "scores": 1}),
    )
    yield (
        "blazepose/landmarks.onnx",
        Translation(landmark).model({"landmarks": 0, "presence": 1}),
    )
    yield (
        "magenta/style.onnx",
        freed(predict, {"picture": [1, "height", "width", 3]}, "style", [1, 1, 1, 100]),
    )
    yield (
        "magenta/transform.onnx",
        freed(
            transform,
            {"picture": [1, "height", "width", 3], "style": [1, 1, 1, 100]},
            "painted",
            [1, "height4", "width4", 3],
        ),
    )


if __name__ == "__main__":
    for name, model in made(*map(Path, sys.argv[1:5])):
        target = HERE / name
        target.parent.mkdir(exist_ok=True)
        onnx.save(model, target)
        print(name, target.stat().st_size)  # noqa: T201
